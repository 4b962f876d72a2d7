//! The feed's connection is lost. Where the subscription resumes, nothing was missed; where it cannot, everything that is
//! held is loaded again before it is served, and nothing else is loaded.

use cache_sync::Client;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, close, make_accounts, open, shown, stored};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::time::Duration;

/// Twice what the smallest ring holds.
const ROWS: i64 = 2048;

#[tokio::test]
async fn resumes_where_it_can_and_doubts_everything_where_it_cannot() {
    let cluster = start(unsynced().setting("cache_sync.ring_size", "1024"));
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, ROWS);
    let proxy = Proxy::start(cluster.port()).await;
    // Entries are served all the time, so that it is the subscription alone that makes them doubtful.
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_secs(600))).await;
    let cache = accounts(&client).await;
    let keys: Vec<i64> = (1..=100).collect();
    cache.get_many(&keys).await.unwrap();
    let before = client.status();

    proxy.cut_feed().await;
    db.psql("UPDATE account SET note = 'resumed' WHERE id = 7");
    proxy.let_feed_through();
    client.catch_up().await.unwrap();
    assert_eq!(shown(cache.get(&7).await.unwrap().as_deref()), stored(&db, 7));
    cache.get_many(&keys).await.unwrap();
    assert_eq!(client.status().gaps, before.gaps);
    assert!(client.status().feed_connects > before.feed_connects);
    assert_eq!(cache.status().loaded_keys, 101, "only what changed was loaded again");

    proxy.cut_feed().await;
    db.psql("UPDATE account SET note = 'lapped' WHERE id = 7");
    db.psql("UPDATE account SET note = 'many' WHERE id > 100");
    proxy.let_feed_through();
    client.catch_up().await.unwrap();
    assert_eq!(client.status().gaps, before.gaps + 1);
    assert_eq!(shown(cache.get(&7).await.unwrap().as_deref()), stored(&db, 7));
    assert_eq!(cache.status().loaded_keys, 102, "what nobody asks for is not loaded");
    cache.get_many(&keys[..10]).await.unwrap();
    assert_eq!(cache.status().loaded_keys, 111);
    close(client).await;
}

/// The only table is dropped while the feed is away, so it has nothing to come back for.
#[tokio::test]
async fn nobody_waits_for_a_feed_that_nobody_wants_to_hear() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_secs(600))).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();
    proxy.cut_feed().await;
    db.psql("DROP TABLE account");
    let catching_up = async {
        let come_back = async {
            let asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%feed_head%' AND state = 'idle' AND pid <> pg_backend_pid()
                AND datname = current_database()";
            wait_until(SOON, "it has asked how far the feed is to come", async || db.psql(asked) == "1").await;
            proxy.let_feed_through();
        };
        tokio::join!(client.catch_up(), come_back).0
    };
    tokio::time::timeout(SOON, catching_up).await.expect("it ends").unwrap();
    assert!(cache.get(&1).await.is_err());
    close(client).await;
}

/// A change between the load of the entry and the end of `open` of another cache on the same client.
#[tokio::test]
async fn a_second_cache_does_not_disturb_the_first() {
    let db = Database::with_extension();
    make_accounts(&db, 10);
    db.psql("CREATE TABLE other (id bigint PRIMARY KEY, v int); SELECT cache_sync.attach('other')");
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Other {
        v: Option<i32>,
    }
    let client = open(Client::builder(&db.dsn())).await;
    let first = accounts(&client).await;
    wait_until(SOON, "the first cache is served", async || {
        first.get(&1).await.unwrap();
        first.cached(&1).is_some()
    })
    .await;
    let gaps = client.status().gaps;
    let second: cache_sync::Cache<i64, Other> = client.cache("other").open().await.unwrap();
    assert!(second.get(&5).await.unwrap().is_none());
    db.psql("UPDATE account SET note = 'heard'; INSERT INTO other VALUES (5, 50)");
    client.catch_up().await.unwrap();
    assert_eq!(shown(first.get(&1).await.unwrap().as_deref()), stored(&db, 1));
    assert_eq!(second.get(&5).await.unwrap().unwrap().v, Some(50));
    assert_eq!(client.status().gaps, gaps);
    close(client).await;
}
