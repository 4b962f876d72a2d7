//! While the feed says nothing of now, reads go to Postgres. When it is within the bound again, but still behind what those reads have
//! shown, what was held from before must not be served: that would go back.

use cache_sync::Client;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, wait_until};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn is_not_followed_by_what_was_held_before() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 1);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(BOUND)).await;
    let cache = accounts(&client).await;
    let sum = || client.query::<Account>("SELECT * FROM account").depends_on_table("account");
    cache.get(&1).await.unwrap();
    sum().fetch().await.unwrap();
    // By and by, so that the connection does not count as broken.
    for late in (0..=1700).step_by(100) {
        proxy.faults.feed_late_millis.store(late, Ordering::Release);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    wait_until(SOON, "nothing is served from memory", async || !client.status().feed_live).await;
    db.psql("UPDATE account SET balance = 1");
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 1);
    assert_eq!(sum().fetch().await.unwrap()[0].balance, 1);
    proxy.faults.feed_late_millis.store(900, Ordering::Release);
    let until = Instant::now() + BOUND;
    while Instant::now() < until {
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 1, "a row goes back");
        assert_eq!(sum().fetch().await.unwrap()[0].balance, 1, "a query goes back");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    proxy.faults.feed_late_millis.store(0, Ordering::Release);
    close(client).await;
}
