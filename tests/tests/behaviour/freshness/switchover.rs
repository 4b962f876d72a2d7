//! A planned switchover: another server takes the writes from now on, and the one of before answers as if nothing had happened, but
//! read-only. A client whose DSN names both once went on with the wrong one for ever.

use cache_sync::{Client, Patch, Verdict};
use cache_sync_tests::rows::{accounts, close, make_accounts, open, shown};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::Duration;

#[tokio::test]
async fn a_client_finds_the_server_that_takes_writes() {
    let before = start(unsynced());
    let db = Database::with_extension_in(&before);
    make_accounts(&db, 3);
    let after = before.standby(&[]).unwrap();
    let (one, other, name) = (before.port(), after.port(), db.name());
    let hosts = format!("postgresql://postgres@127.0.0.1:{one},127.0.0.1:{other}/{name}");
    let client = open(Client::builder(&format!("{hosts}?target_session_attrs=read-write"))).await;
    let cache = accounts(&client).await;
    cache.get_many(&[1, 2, 3]).await.unwrap();
    let receipt = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    let lsn = db.psql("SELECT pg_current_wal_insert_lsn()");
    let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
    let has_replayed = async || after.psql(name, &reached).is_ok_and(|answer| answer == "t");
    wait_until(SOON, "the standby has replayed everything", has_replayed).await;

    after.psql(name, "SELECT pg_promote(true)").unwrap();
    db.psql("ALTER SYSTEM SET default_transaction_read_only = on");
    db.psql("SELECT pg_reload_conf()");
    wait_until(SOON, "the server of before is read-only", async || db.try_psql("CREATE TABLE x ()").is_err()).await;
    let receipt = cache.patch(&1, Patch::new().add("balance", 10)).await.unwrap();
    let outcome = tokio::time::timeout(SOON, receipt.written()).await.expect("it is not written").unwrap();
    assert_eq!(outcome.verdict, Some(Verdict::Applied));
    assert_eq!(after.psql(name, "SELECT balance FROM account WHERE id = 1").unwrap(), "11");

    after.psql(name, "UPDATE account SET note = 'there' WHERE id = 2").unwrap();
    wait_until(SOON, "changes are heard of the server that takes writes", async || {
        cache.get(&2).await.is_ok()
            && cache.cached(&2).flatten().is_some_and(|row| row.note.as_deref() == Some("there"))
    })
    .await;
    assert_eq!(shown(cache.get(&1).await.unwrap().as_deref()), "1|name 1|11|");
    tokio::time::timeout(Duration::from_secs(60), close(client)).await.unwrap();
}
