//! Writes: accepted into the buffer, shown at once, merged by Postgres.

use cache_sync::{Client, Durability, Patch, Verdict, WhenFull};
use cache_sync_tests::Database;
use cache_sync_tests::rows::{
    Account, accounts, client, close, make_accounts, make_plain_accounts, node, node_with, open,
};
use std::time::Duration;

fn account(id: i64, name: &str) -> Account {
    Account { id, name: name.into(), balance: 0, note: None }
}

#[tokio::test]
async fn a_write_is_seen_by_its_process_at_once_and_by_postgres_soon() {
    let (db, client, cache) = node_with(3).await;
    cache.get(&1).await.unwrap();
    let receipt = cache.update(&1, |account| account.balance += 5).await.unwrap();
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 5);
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    assert_eq!(db.psql("SELECT balance FROM account WHERE id = 1"), "5");
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 5);

    let _ = cache.put(9, account(9, "new")).await.unwrap();
    assert_eq!(cache.get(&9).await.unwrap().unwrap().name, "new");
    let _ = cache.delete(&2).await.unwrap();
    assert!(cache.get(&2).await.unwrap().is_none());
    client.flush().await.unwrap();
    assert_eq!(db.psql("SELECT string_agg(id::text, ',' ORDER BY id) FROM account"), "1,3,9");
    close(client).await;
}

#[tokio::test]
async fn on_plain_tables_too() {
    let db = Database::with_extension();
    make_plain_accounts(&db, 3);
    let (client, cache) = node(&db).await;
    for round in 1..=20 {
        let receipt = cache.update(&1, |account| account.balance += 1).await.unwrap();
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, round);
        assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, round);
    }
    close(client).await;
}

#[tokio::test]
async fn an_update_sends_only_what_it_changed() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    // A trigger on columns fires when they stand in the statement, whether or not their value changes.
    db.psql(
        "CREATE TABLE fired (col text);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN INSERT INTO public.fired VALUES (TG_ARGV[0]); RETURN NEW; END $$;
         CREATE TRIGGER a BEFORE UPDATE OF name ON account FOR EACH ROW EXECUTE FUNCTION note('name');
         CREATE TRIGGER b BEFORE UPDATE OF balance ON account FOR EACH ROW EXECUTE FUNCTION note('balance');
         CREATE TRIGGER c BEFORE UPDATE OF note ON account FOR EACH ROW EXECUTE FUNCTION note('note');
         CREATE TRIGGER d BEFORE UPDATE OF id ON account FOR EACH ROW EXECUTE FUNCTION note('id')",
    );
    let (client, cache) = node(&db).await;
    let receipt = cache.update(&1, |account| account.note = Some("hello".into())).await.unwrap();
    receipt.written().await.unwrap();
    assert_eq!(db.psql("SELECT string_agg(col, ',') FROM fired"), "note");
    let nothing = cache.update(&1, |account| account.balance += 0).await.unwrap();
    assert_eq!(nothing.written().await.unwrap().verdict, Some(Verdict::Unchanged));
    assert_eq!(db.psql("SELECT count(*) FROM fired"), "1");
    close(client).await;
}

#[tokio::test]
async fn writes_of_one_key_coalesce() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).flush_interval(Duration::from_millis(200))).await;
    let cache = accounts(&client).await;
    let mut receipts = Vec::new();
    for _ in 0..500 {
        receipts.push(cache.update(&1, |account| account.balance += 1).await.unwrap());
    }
    for receipt in receipts {
        assert!(receipt.written().await.unwrap().is_written());
    }
    assert_eq!(db.psql("SELECT balance FROM account"), "500");
    assert!(cache.status().patches < 20, "{:?}", cache.status());
    close(client).await;
}

#[tokio::test]
async fn two_processes_add_to_one_counter() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let (one, other) = (client(&db).await, client(&db).await);
    let (here, there) = (accounts(&one).await, accounts(&other).await);
    for _ in 0..200 {
        let _ = here.update(&1, |account| account.balance += 1).await.unwrap();
        let _ = there.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    }
    one.flush().await.unwrap();
    other.flush().await.unwrap();
    assert_eq!(db.psql("SELECT balance FROM account"), "400");
    one.catch_up().await.unwrap();
    other.catch_up().await.unwrap();
    assert_eq!(here.get(&1).await.unwrap().unwrap().balance, 400);
    assert_eq!(there.get(&1).await.unwrap().unwrap().balance, 400);
    close(one).await;
    close(other).await;
}

#[tokio::test]
async fn an_edit_does_not_resurrect_what_psql_deleted() {
    let (db, client, cache) = node_with(2).await;
    cache.get(&1).await.unwrap();
    cache.get(&2).await.unwrap();
    db.psql("DELETE FROM account");
    let edit = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    assert_eq!(edit.written().await.unwrap().verdict, Some(Verdict::Missing));
    let missing = cache.update(&1, |account| account.balance += 1).await.err().unwrap();
    assert!(missing.is_missing(), "{missing}");
    assert_eq!(db.psql("SELECT count(*) FROM account"), "0");
    close(client).await;
}

#[tokio::test]
async fn a_bad_write_is_refused_with_its_reason_and_blocks_nobody() {
    let db = Database::with_extension();
    make_accounts(&db, 10);
    db.psql("ALTER TABLE account ADD CHECK (balance < 1000)");
    let (client, cache) = node(&db).await;
    let mut receipts = Vec::new();
    for id in 1..=10 {
        let by = if id == 5 { 5000 } else { 1 };
        receipts.push(cache.patch(&id, Patch::new().add("balance", by)).await.unwrap());
    }
    for (place, receipt) in receipts.into_iter().enumerate() {
        let outcome = receipt.written().await.unwrap();
        if place == 4 {
            assert_eq!(outcome.verdict, Some(Verdict::Rejected));
            assert_eq!(outcome.sqlstate.as_deref(), Some("23514"));
        } else {
            assert_eq!(outcome.verdict, Some(Verdict::Applied));
        }
    }
    assert_eq!(cache.get(&5).await.unwrap().unwrap().balance, 0, "what was refused is no longer shown");
    assert_eq!(db.psql("SELECT count(*), min(sqlstate) FROM cache_sync.dead_letters"), "1|23514");
    close(client).await;
}

#[tokio::test]
async fn durability_database_returns_after_the_commit() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).flush_interval(Duration::from_secs(3600))).await;
    let cache: cache_sync::Cache<i64, Account> =
        client.cache("account").durability(Durability::Database).open().await.unwrap();
    let receipt = cache.update(&1, |account| account.balance += 1).await.unwrap();
    assert_eq!(db.psql("SELECT balance FROM account"), "1");
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    close(client).await;
}

#[tokio::test]
async fn a_full_buffer_refuses_or_waits() {
    let db = Database::with_extension();
    make_accounts(&db, 10);
    let locked = db.connect().await;
    locked.batch_execute("BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE").await.unwrap();

    let builder = Client::builder(&db.dsn()).buffer_entries_max(3);
    let refuses = open(builder.when_full(WhenFull::Refuse)).await;
    // Opening reads the table's columns only, which the lock forbids too.
    locked.batch_execute("COMMIT").await.unwrap();
    let cache = accounts(&refuses).await;
    locked.batch_execute("BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for id in 1..=3 {
        let _ = cache.put(id, account(id, "full")).await.unwrap();
    }
    let error = cache.put(4, account(4, "full")).await.err().unwrap();
    assert!(error.is_full() && error.is_retryable(), "{error}");
    assert_eq!(refuses.status().buffered, 3);
    locked.batch_execute("COMMIT").await.unwrap();
    refuses.flush().await.unwrap();
    assert_eq!(refuses.status().buffered, 0);
    assert_eq!(refuses.status().buffered_bytes, 0);
    let _ = cache.put(4, account(4, "full")).await.unwrap();
    close(refuses).await;

    let waits = open(Client::builder(&db.dsn()).buffer_entries_max(3)).await;
    let cache = accounts(&waits).await;
    for id in 1..=10 {
        let _ = cache.put(id, account(id, "waited")).await.unwrap();
    }
    close(waits).await;
    assert_eq!(db.psql("SELECT count(*) FROM account WHERE name = 'waited'"), "10");
}

#[tokio::test]
async fn what_contradicts_its_key_or_its_rule_is_refused() {
    let (_db, client, cache) = node_with(2).await;
    assert!(cache.put(1, account(2, "x")).await.err().unwrap().is_rule_violation());
    assert!(cache.update(&1, |account| account.id = 2).await.err().unwrap().is_rule_violation());
    assert!(cache.patch(&1, Patch::new().set("balance", 5)).await.err().unwrap().is_rule_violation());
    assert!(cache.patch(&1, Patch::new().add("name", 5)).await.err().unwrap().is_rule_violation());
    assert!(cache.patch(&1, Patch::new().set("nothing", 5)).await.err().unwrap().is_rule_violation());
    assert_eq!(client.status().buffered, 0);
    close(client).await;
}

#[tokio::test]
async fn a_closed_client_says_what_it_could_not_write() {
    let (db, client, cache) = node_with(1).await;
    let locked = db.connect().await;
    locked.batch_execute("BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let receipt = cache.patch(&1, Patch::new().add("balance", 7)).await.unwrap();
    let unwritten = client.close(Duration::from_millis(200)).await.unwrap();
    assert_eq!(unwritten.len(), 1);
    assert_eq!(unwritten[0].key, "{\"id\":1}");
    assert!(unwritten[0].patch.contains("\"balance\":7"), "{unwritten:?}");
    assert!(receipt.written().await.err().unwrap().is_closed());
    assert!(cache.get(&1).await.err().unwrap().is_closed());
    assert_eq!(client.close(Duration::ZERO).await.unwrap().len(), unwritten.len(), "closing it again changes nothing");
    locked.batch_execute("ROLLBACK").await.unwrap();
}
