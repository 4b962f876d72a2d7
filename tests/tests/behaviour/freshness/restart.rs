//! Postgres is restarted without warning: nothing held is trusted, and all goes on by itself.

use cache_sync_cluster::Options;
use cache_sync_tests::rows::{accounts, client, close, make_accounts};
use cache_sync_tests::{Database, SOON, start, wait_until};

#[tokio::test]
async fn what_is_held_is_loaded_again_and_served_from_memory_again() {
    let cluster = start(Options::default().fsync(false));
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 10);
    let client = client(&db).await;
    let cache = accounts(&client).await;
    let keys: Vec<i64> = (1..=10).collect();
    cache.get_many(&keys).await.unwrap();
    let epoch = client.status().epoch;

    cluster.restart_immediate().unwrap();
    db.psql("UPDATE account SET balance = id");
    wait_until(SOON, "the feed is heard again", async || {
        let status = client.status();
        status.feed_live && status.epoch != epoch
    })
    .await;
    for (key, row) in keys.iter().zip(cache.get_many(&keys).await.unwrap()) {
        assert_eq!(row.unwrap().balance, *key);
    }
    let before = cache.status();
    cache.get_many(&keys).await.unwrap();
    let after = cache.status();
    assert_eq!((after.hits - before.hits, after.misses - before.misses), (10, 0));

    let receipt = cache.update(&1, |account| account.balance += 1).await.unwrap();
    assert!(receipt.written().await.unwrap().is_written());
    assert_eq!(db.psql("SELECT balance FROM account WHERE id = 1"), "2");
    close(client).await;
}
