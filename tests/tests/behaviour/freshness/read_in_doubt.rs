//! While the feed says nothing of now, reads go to Postgres. When it is within the bound again, but still behind what those reads have
//! shown, what was held from before must not be served: that would go back.

use cache_sync::Client;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, wait_until};
use std::sync::atomic::Ordering;
use std::time::Duration;

const BOUND: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn is_not_followed_by_what_was_held_before() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 2);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(BOUND)).await;
    let cache = accounts(&client).await;
    let sum = || client.query::<Account>("SELECT * FROM account WHERE id = 1").depends_on_table("account");
    let heard = || client.status().caches[0].changes;
    let is_late = |millis| proxy.faults.feed_late_millis.store(millis, Ordering::Release);
    // By and by, so that the connection does not count as broken.
    for (changes, late) in [600, 1200].into_iter().enumerate() {
        is_late(late);
        db.psql(&format!("UPDATE account SET balance = {late} WHERE id = 2"));
        wait_until(SOON, "the change is heard", async || heard() > changes as u64).await;
    }
    cache.get(&1).await.unwrap();
    sum().fetch().await.unwrap();
    is_late(1700);
    wait_until(SOON, "nothing is served from memory", async || !client.status().feed_live).await;
    let before = heard();
    db.psql("UPDATE account SET balance = 1 WHERE id = 1");
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 1);
    assert_eq!(sum().fetch().await.unwrap()[0].balance, 1);
    is_late(900);
    wait_until(SOON, "the change is heard", async || {
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 1, "a row goes back");
        assert_eq!(sum().fetch().await.unwrap()[0].balance, 1, "a query goes back");
        heard() > before
    })
    .await;
    is_late(0);
    close(client).await;
}
