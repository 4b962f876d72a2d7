//! A backend is killed between its commit and the moment when it tells the feed: nobody will ever hear of that change.
//! Postgres then re-creates shared memory, which is a new epoch, and every entry is loaded again before it is served.

use cache_sync_cluster::{Options, Variant};
use cache_sync_tests::rows::{accounts, client, close, make_accounts, shown, stored};
use cache_sync_tests::{Database, SOON, start, wait_until};

#[tokio::test]
async fn every_entry_is_loaded_again() {
    let cluster = start(Options::default().fsync(false).variant(Variant::TestFaults));
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 20);
    let client = client(&db).await;
    let cache = accounts(&client).await;
    let keys: Vec<i64> = (1..=20).collect();
    cache.get_many(&keys).await.unwrap();
    let before = client.status();

    let killed =
        db.psql_error("SET cache_sync.kill_before_publish = on; UPDATE account SET note = 'unheard' WHERE id = 7");
    assert!(killed.contains("server closed the connection") || killed.contains("terminat"), "{killed}");
    wait_until(SOON, "the server is back", async || db.try_psql("SELECT 1").is_ok()).await;
    assert_eq!(stored(&db, 7), "7|name 7|0|unheard", "it was committed");

    wait_until(SOON, "the feed is back", async || {
        let status = client.status();
        status.feed_live && status.epoch != before.epoch
    })
    .await;
    for (key, row) in keys.iter().zip(cache.get_many(&keys).await.unwrap()) {
        assert_eq!(shown(row.as_deref()), stored(&db, *key));
    }
    assert_eq!(cache.status().loaded_keys, 40, "each was loaded again, once");
    assert!(client.status().gaps > before.gaps);
    close(client).await;
}
