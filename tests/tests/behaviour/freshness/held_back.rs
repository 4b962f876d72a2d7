//! A change that comes while a batch with its key is under way may be the batch's own echo, and is held back until the outcome tells.
//! It never hides what somebody knows to be there.

use cache_sync::{Client, Patch};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, wait_until};
use std::time::Duration;

/// A node whose batch is committed, and whose outcome is under way; then somebody else changes the same row.
struct UnderWay {
    db: Database<'static>,
    proxy: Proxy,
    client: Client,
    cache: cache_sync::Cache<i64, cache_sync_tests::rows::Account>,
}

impl UnderWay {
    async fn new(bound: Duration) -> UnderWay {
        let db = Database::with_extension_in(cluster_with_quick_heartbeats());
        make_accounts(&db, 1);
        let proxy = Proxy::start(db.cluster().port()).await;
        let client = open(Client::builder(&proxy.dsn(&db)).flush_interval(Duration::ZERO).feed_timeout(bound)).await;
        let cache = accounts(&client).await;
        // So that its session is open.
        cache.patch(&1, Patch::new().set("note", "first")).await.unwrap().written().await.unwrap();
        client.catch_up().await.unwrap();
        cache.get(&1).await.unwrap();
        proxy.faults.set(|faults| &faults.hold_answers, true);
        let _ = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
        let committed = async || db.psql("SELECT balance FROM account") == "1";
        wait_until(SOON, "the batch is committed", committed).await;
        UnderWay { db, proxy, client, cache }
    }

    async fn balance(&self) -> i64 {
        self.cache.get(&1).await.unwrap().unwrap().balance
    }
}

#[tokio::test]
async fn catching_up_shows_it() {
    for round in 1..=5 {
        let node = UnderWay::new(Duration::from_secs(3)).await;
        node.db.psql("UPDATE account SET balance = balance + 100");
        node.client.catch_up().await.unwrap();
        assert_eq!(node.balance().await, 101, "round {round}");
        node.proxy.faults.set(|faults| &faults.hold_answers, false);
        close(node.client).await;
    }
}

/// While the feed is silent each read goes to Postgres and shows what is there; once it is heard again and tells the change, no read
/// goes back behind that.
#[tokio::test]
async fn after_a_silence_no_read_goes_back() {
    let node = UnderWay::new(Duration::from_millis(600)).await;
    node.proxy.cut_feed().await;
    wait_until(SOON, "the feed is not heard", async || !node.client.status().feed_live).await;
    node.db.psql("UPDATE account SET balance = balance + 100");
    assert_eq!(node.balance().await, 101);
    node.proxy.let_feed_through();
    wait_until(SOON, "it is heard again", async || {
        assert_eq!(node.balance().await, 101);
        node.client.status().feed_live
    })
    .await;
    for _ in 0..300 {
        assert_eq!(node.balance().await, 101);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.proxy.faults.set(|faults| &faults.hold_answers, false);
    close(node.client).await;
}
