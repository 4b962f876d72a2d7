//! Postgres is restarted without warning: nothing held is trusted, and all goes on by itself.

use cache_sync_tests::rows::{close, make_accounts, node, until_another_epoch};
use cache_sync_tests::{Database, start, unsynced};

#[tokio::test]
async fn what_is_held_is_loaded_again_and_served_from_memory_again() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 10);
    let (client, cache) = node(&db).await;
    let keys: Vec<i64> = (1..=10).collect();
    cache.get_many(&keys).await.unwrap();
    let epoch = client.status().epoch;

    cluster.restart_immediate().unwrap();
    db.psql("UPDATE account SET balance = id");
    until_another_epoch(&client, epoch).await;
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
