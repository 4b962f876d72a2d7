//! A planned switchover: another server takes the writes from now on, and the one of before answers as if nothing had happened, but
//! read-only. A client whose DSN names both once went on with the wrong one for ever.

use cache_sync::{Cache, Client, Patch, Verdict};
use cache_sync_cluster::Cluster;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open, shown};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::Duration;

#[derive(serde::Deserialize)]
struct Count {
    count: i64,
}

/// Waits until the standby has replayed what the server of before has written.
async fn replayed(db: &Database<'_>, standby: &Cluster) {
    let lsn = db.psql("SELECT pg_current_wal_insert_lsn()");
    let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
    let has_replayed = async || standby.psql(db.name(), &reached).is_ok_and(|answer| answer == "t");
    wait_until(SOON, "the standby has replayed everything", has_replayed).await;
}

/// From now on the other server takes the writes.
async fn switch_over(db: &Database<'_>, after: &Cluster) {
    after.psql(db.name(), "SELECT pg_promote(true)").unwrap();
    db.psql("ALTER SYSTEM SET default_transaction_read_only = on");
    db.psql("SELECT pg_reload_conf()");
    wait_until(SOON, "the server of before is read-only", async || db.try_psql("CREATE TABLE x ()").is_err()).await;
}

/// A DSN that names both.
fn hosts(before: &Cluster, after: &Cluster, name: &str) -> String {
    format!("postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/{name}", before.port(), after.port())
}

/// What was changed on the server that takes writes is seen, and held.
async fn is_followed(cache: &Cache<i64, Account>, after: &Cluster, name: &str) {
    after.psql(name, "UPDATE account SET note = 'there' WHERE id = 2").unwrap();
    wait_until(SOON, "changes are heard of the server that takes writes", async || {
        cache.get(&2).await.is_ok()
            && cache.cached(&2).flatten().is_some_and(|row| row.note.as_deref() == Some("there"))
    })
    .await;
}

#[tokio::test]
async fn a_client_finds_the_server_that_takes_writes() {
    let before = start(unsynced());
    let db = Database::with_extension_in(&before);
    make_accounts(&db, 3);
    let after = before.standby(&[]).unwrap();
    let name = db.name();
    let client = open(Client::builder(&hosts(&before, &after, name))).await;
    let cache = accounts(&client).await;
    cache.get_many(&[1, 2, 3]).await.unwrap();
    let receipt = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    replayed(&db, &after).await;

    switch_over(&db, &after).await;
    let receipt = cache.patch(&1, Patch::new().add("balance", 10)).await.unwrap();
    let outcome = tokio::time::timeout(SOON, receipt.written()).await.expect("it is not written").unwrap();
    assert_eq!(outcome.verdict, Some(Verdict::Applied));
    assert_eq!(after.psql(name, "SELECT balance FROM account WHERE id = 1").unwrap(), "11");

    is_followed(&cache, &after, name).await;
    assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), "1|name 1|11|");
    tokio::time::timeout(Duration::from_secs(60), close(client)).await.unwrap();
}

/// Its feed goes to the other server, and nothing it asks over the connections of before is refused.
#[tokio::test]
async fn so_does_one_that_only_reads() {
    let before = start(unsynced());
    let db = Database::with_extension_in(&before);
    make_accounts(&db, 3);
    let after = before.standby(&[]).unwrap();
    let client = open(Client::builder(&hosts(&before, &after, db.name()))).await;
    let cache = accounts(&client).await;
    cache.get_many(&[1, 2, 3]).await.unwrap();
    replayed(&db, &after).await;
    switch_over(&db, &after).await;
    db.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '% feed'");
    is_followed(&cache, &after, db.name()).await;
    let count = client.query::<Count>("SELECT count(*) FROM account WHERE note = 'there'").depends_on_table("account");
    assert_eq!(count.fetch().await.unwrap()[0].count, 1);
    client.catch_up().await.unwrap();
    close(client).await;
}
