//! Memory holds one entry, the buffer a hundred: what is not written yet is neither lost nor hidden.

use cache_sync::{Cache, Client, Patch};
use cache_sync_tests::Database;
use cache_sync_tests::rows::{Account, close, make_accounts, open};
use std::time::Duration;

#[tokio::test]
async fn of_dirty_keys_loses_nothing() {
    let db = Database::with_extension();
    make_accounts(&db, 100);
    let client = open(Client::builder(&db.dsn()).flush_interval(Duration::from_secs(3600))).await;
    let cache: Cache<i64, Account> = client.cache("account").max_capacity(1).open().await.unwrap();
    for id in 1..=100 {
        if id % 2 == 0 {
            let _ = cache.update(&id, |account| account.balance += id).await.unwrap();
        } else {
            let _ = cache.patch(&id, Patch::new().add("balance", id)).await.unwrap();
        }
    }
    assert!(cache.status().entries <= 1, "{:?}", cache.status());
    for id in 1..=100 {
        assert_eq!(cache.get(&id).await.unwrap().unwrap().balance, id, "one's own write");
    }
    assert_eq!(db.psql("SELECT sum(balance) FROM account"), "0", "nothing is written yet");
    assert!(cache.status().entries <= 1, "{:?}", cache.status());
    client.flush().await.unwrap();
    assert_eq!(db.psql("SELECT count(*) FROM account WHERE balance = id"), "100");
    for id in 1..=100 {
        assert_eq!(cache.get(&id).await.unwrap().unwrap().balance, id);
    }
    close(client).await;
}
