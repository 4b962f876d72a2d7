//! A key is loaded while a batch with it is under way: the statement says whether it saw the batch, so nobody waits for
//! it, and the patch is neither missing nor counted twice.

use cache_sync::{Client, Patch, Verdict};
use cache_sync_tests::locks::until_waiting_where;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
use std::time::Duration;

/// A user's transaction holds the row's lock and reads the row through the cache: it must not wait for the patch, which
/// waits for that very lock.
#[tokio::test]
async fn a_transaction_reads_the_row_that_it_has_locked() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let client = open(Client::builder(&db.dsn()).flush_interval(Duration::ZERO)).await;
    let cache = accounts(&client).await;
    for round in 1..=5 {
        let theirs = db.connect().await;
        theirs.batch_execute("BEGIN; SELECT FROM account WHERE id = 1 FOR UPDATE").await.unwrap();
        let receipt = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
        until_waiting_where(&db, 1, "application_name LIKE '% flusher'").await;
        cache.invalidate(&1);
        let read = tokio::time::timeout(SOON, cache.get(&1)).await.expect("the read waits for the patch");
        assert_eq!(read.unwrap().unwrap().balance, (round - 1) * 101 + 1, "the row with the pending patch");
        theirs.batch_execute("UPDATE account SET balance = balance + 100; COMMIT").await.unwrap();
        assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
        client.catch_up().await.unwrap();
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, round * 101);
    }
    close(client).await;
}

/// The batch is committed, but its outcome has not arrived: the row contains the patch already.
#[tokio::test]
async fn a_row_that_contains_the_patch_does_not_get_it_again() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).flush_interval(Duration::ZERO)).await;
    let cache = accounts(&client).await;
    let opened = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    opened.written().await.unwrap();
    proxy.faults.set(|faults| &faults.hold_answers, true);
    let receipt = cache.patch(&1, Patch::new().add("balance", 10)).await.unwrap();
    wait_until(SOON, "the batch is committed", async || db.psql("SELECT balance FROM account") == "11").await;
    cache.invalidate(&1);
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 11);
    // What waits behind it is not in the row.
    let later = cache.patch(&1, Patch::new().add("balance", 100)).await.unwrap();
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 111);
    cache.invalidate(&1);
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 111);
    proxy.faults.set(|faults| &faults.hold_answers, false);
    assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied));
    later.written().await.unwrap();
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 111);
    close(client).await;
}
