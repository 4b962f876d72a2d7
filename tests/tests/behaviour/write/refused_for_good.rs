//! A write that Postgres does not take: whoever waits for it hears why after a time, and nothing that was accepted is given up.

use cache_sync::{Cache, Client, ClientBuilder, Durability, Error, Patch, WhenFull};
use cache_sync_tests::logged::Logged;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
use std::future::Future;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(700);

/// A role of the database's own that may read accounts, and not write them.
fn reader(db: &Database<'_>) -> String {
    let role = format!("reader_of_{}", db.name());
    db.psql(&format!("CREATE ROLE {role} LOGIN IN ROLE cache_sync_user; GRANT SELECT ON account TO {role}"));
    role
}

async fn refusal<T: std::fmt::Debug>(call: impl Future<Output = Result<T, Error>>) -> Error {
    tokio::time::timeout(SOON, call).await.expect("it waits for ever").unwrap_err()
}

fn builder(db: &Database<'_>, role: &str) -> ClientBuilder {
    Client::builder(&db.dsn_as(role)).write_timeout(TIMEOUT)
}

/// No right to write the table: `written`, `flush` and writes that wait for Postgres once waited for ever.
#[tokio::test]
async fn whoever_waits_hears_why_and_it_is_written_once_it_can_be() {
    let logged = Logged::start();
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let role = reader(&db);
    let client = open(builder(&db, &role)).await;
    let cache: Cache<i64, Account> = client.cache("account").durability(Durability::Database).open().await.unwrap();
    for error in [refusal(cache.patch(&1, Patch::new().add("balance", 5))).await, refusal(client.flush()).await] {
        assert!(error.is_unwritten() && !error.is_retryable(), "{error:?}");
        assert_eq!(error.sqlstate(), Some("42501"), "{error:?}");
        assert!(error.to_string().contains("permission denied for table account"), "{error}");
    }
    let status = client.status();
    let trouble = status.caches[0].write_trouble.clone().expect("it says what is the matter");
    assert_eq!((status.buffered, trouble.error.sqlstate()), (1, Some("42501")));
    assert!(trouble.lasting >= TIMEOUT / 2 && trouble.tries > 1, "{trouble:?}");
    assert_eq!(logged.with(&["WARN", "account", "42501", "it is tried again"]).len(), 1, "not with each try");

    db.psql(&format!("GRANT UPDATE ON account TO {role}"));
    wait_until(SOON, "it is written", async || client.status().buffered == 0).await;
    assert_eq!(db.psql("SELECT balance FROM account WHERE id = 1"), "5");
    assert!(client.status().caches[0].write_trouble.is_none());
    assert_eq!(logged.with(&["INFO", "account", "succeeds again", "lasted"]).len(), 1);
    close(client).await;
}

/// A column that was renamed: no patch can be written that names it, one alone is set aside.
#[tokio::test]
async fn so_does_who_writes_a_column_that_is_not_there() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let client = open(Client::builder(&db.dsn()).write_timeout(TIMEOUT)).await;
    let cache = accounts(&client).await;
    db.psql("ALTER TABLE account RENAME note TO remark");
    let receipt = cache.patch(&1, Patch::new().set("note", "a")).await.unwrap();
    let error = refusal(receipt.written()).await;
    assert!(error.is_unwritten() && error.sqlstate() == Some("42703"), "{error:?}");
    // Set aside it holds up nobody else.
    let aside = async || client.status().caches[0].flush_retries >= 5;
    wait_until(SOON, "it has been tried often enough", aside).await;
    let other = cache.patch(&2, Patch::new().add("balance", 1)).await.unwrap();
    tokio::time::timeout(SOON, other.written()).await.expect("it waits behind the other").unwrap();
    assert_eq!(client.status().buffered, 1);
    db.psql("ALTER TABLE account RENAME remark TO note");
    wait_until(SOON, "it is written", async || client.status().buffered == 0).await;
    assert_eq!(db.psql("SELECT note FROM account WHERE id = 1"), "a");
    close(client).await;
}

#[tokio::test]
async fn so_does_who_waits_for_room() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let role = reader(&db);
    let client = open(builder(&db, &role).buffer_entries_max(1).when_full(WhenFull::Wait)).await;
    let cache = accounts(&client).await;
    let _ = cache.patch(&1, Patch::new().add("balance", 5)).await.unwrap();
    let error = refusal(cache.patch(&2, Patch::new().add("balance", 5))).await;
    assert!(error.is_full() && error.to_string().contains("account takes none"), "{error:?}");
    assert_eq!(error.sqlstate(), Some("42501"));
    db.psql(&format!("GRANT UPDATE ON account TO {role}"));
    close(client).await;
    assert_eq!(db.psql("SELECT string_agg(balance::text, ',' ORDER BY id) FROM account"), "5,0,0");
}

/// What one table does not take is in the buffer of all.
#[tokio::test]
async fn so_does_who_waits_for_room_that_another_table_takes_up() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    db.psql(
        "CREATE TABLE other AS TABLE account; ALTER TABLE other ADD PRIMARY KEY (id);
         SELECT cache_sync.attach('other', rules => '{\"balance\": \"add\"}')",
    );
    let role = reader(&db);
    db.psql(&format!("GRANT SELECT, UPDATE ON other TO {role}"));
    let client = open(builder(&db, &role).buffer_entries_max(1).when_full(WhenFull::Wait)).await;
    let (cache, other) = (accounts(&client).await, client.cache::<i64, Account>("other").open().await.unwrap());
    let _ = cache.patch(&1, Patch::new().add("balance", 5)).await.unwrap();
    let error = refusal(other.patch(&2, Patch::new().add("balance", 5))).await;
    assert!(error.is_full() && error.to_string().contains("account takes none"), "{error:?}");
    assert_eq!(error.sqlstate(), Some("42501"));
    db.psql(&format!("GRANT UPDATE ON account TO {role}"));
    close(client).await;
}

/// A network that swallows everything. That may pass, so it is waited out unless a time was set.
#[tokio::test]
async fn so_does_whose_postgres_does_not_answer_if_he_set_a_time() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).query_timeout(Duration::from_secs(1))).await;
    let cache: Cache<i64, Account> = client.cache("account").write_timeout(TIMEOUT).open().await.unwrap();
    proxy.faults.set(|faults| &faults.silent, true);
    let receipt = cache.patch(&1, Patch::new().add("balance", 5)).await.unwrap();
    let error = refusal(receipt.written()).await;
    assert!(error.is_unwritten() && error.sqlstate().is_none(), "{error:?}");
    assert!(refusal(client.flush()).await.is_unwritten());
    proxy.faults.set(|faults| &faults.silent, false);
    wait_until(SOON, "it is written", async || client.status().buffered == 0).await;
    assert_eq!(db.psql("SELECT balance FROM account WHERE id = 1"), "5", "once");
    close(client).await;
}
