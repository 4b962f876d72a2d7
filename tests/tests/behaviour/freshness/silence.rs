//! The feed falls silent without its connection being closed, as behind a firewall that forgot it: entries are served for
//! no longer than the bound, then Postgres is asked.

use cache_sync::{Client, Freshness};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
use std::time::{Duration, Instant};

#[tokio::test]
async fn ends_service_from_memory_within_the_bound() {
    const BOUND: Duration = Duration::from_millis(1500);
    let db = Database::with_extension();
    make_accounts(&db, 2);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(BOUND)).await;
    let cache = accounts(&client).await;
    cache.get_many(&[1, 2]).await.unwrap();
    assert!(cache.cached(&1).is_some());

    proxy.faults.set(|faults| &faults.silent_feed, true);
    let silent_since = Instant::now();
    db.psql("UPDATE account SET balance = 1");
    while cache.cached(&1).is_some() {
        // A message that had passed before still counts, hence the margin.
        assert!(silent_since.elapsed() < BOUND + Duration::from_millis(500), "served for longer than the bound");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!client.status().feed_live);
    for balance in 1..=3 {
        db.psql(&format!("UPDATE account SET balance = {balance}"));
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, balance, "Postgres is asked each time");
        assert!(cache.cached(&1).is_none());
    }
    let read = cache.lookup(&1, Freshness::Cached).await.unwrap();
    assert_eq!(read.stale_for, None, "it was confirmed by a load");

    proxy.faults.set(|faults| &faults.silent_feed, false);
    wait_until(SOON, "entries are served again", async || {
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 3);
        cache.cached(&1).is_some()
    })
    .await;
    assert_eq!(cache.get(&2).await.unwrap().unwrap().balance, 3, "what was held before is not served as it was");
    close(client).await;
}
