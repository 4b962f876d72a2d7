//! A backend is killed between its commit and the moment when it tells the feed: nobody will ever hear of that change.
//! Postgres then re-creates shared memory, which is a new epoch, and every entry is loaded again before it is served.

use cache_sync_cluster::Variant;
use cache_sync_tests::rows::{assert_served, close, make_accounts, node, stored, until_another_epoch};
use cache_sync_tests::{Database, start, unsynced};

#[tokio::test]
async fn every_entry_is_loaded_again() {
    let cluster = start(unsynced().variant(Variant::TestFaults));
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 20);
    let (client, cache) = node(&db).await;
    let keys: Vec<i64> = (1..=20).collect();
    cache.get_many(&keys).await.unwrap();
    let before = client.status();

    let killed =
        db.psql_error("SET cache_sync.kill_before_publish = on; UPDATE account SET note = 'unheard' WHERE id = 7");
    assert!(killed.contains("server closed the connection") || killed.contains("terminat"), "{killed}");
    db.until_back().await;
    assert_eq!(stored(&db, 7), "7|name 7|0|unheard", "it was committed");

    until_another_epoch(&client, before.epoch).await;
    assert_served(&cache, &db, &keys, "after the crash").await;
    assert_eq!(cache.status().loaded_keys, 40, "each was loaded again, once");
    assert!(client.status().gaps > before.gaps);
    close(client).await;
}
