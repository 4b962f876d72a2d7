//! The machine is suspended (a laptop that is closed, a virtual machine that is paused): no task of the process runs, and its monotonic
//! clock stands still. When it wakes, everything that it holds is as old as it slept long.

use cache_sync::Client;
use cache_sync_tests::Database;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn nothing_that_is_held_is_served_when_it_wakes() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    let client = open(Client::builder(&db.dsn())).await;
    let cache = accounts(&client).await;
    let all = || client.query::<Account>("SELECT * FROM account ORDER BY id").depends_on_table("account");
    for round in 1..=3 {
        cache.get_many(&[1, 2]).await.unwrap();
        all().fetch().await.unwrap();
        assert!(cache.cached(&1).is_some());
        // What happens meanwhile is not heard before the first read.
        client.mute_feed(true);
        db.psql(&format!("UPDATE account SET balance = {round}"));
        client.suspend(LONG);
        assert!(cache.cached(&1).is_none(), "what was held an hour ago is served");
        assert!(cache.entries().is_empty());
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, round);
        assert_eq!(all().fetch().await.unwrap()[0].balance, round);
        client.mute_feed(false);
        db.psql("UPDATE account SET note = 'told'");
        client.catch_up().await.unwrap();
        cache.get(&2).await.unwrap();
    }
    close(client).await;
}

/// Rows that expire, and those that are held for a time only, do so while the machine is suspended, too.
#[tokio::test]
async fn what_expires_has_expired_when_it_wakes() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    // So long a bound that only the time to live can tell.
    let client = open(Client::builder(&db.dsn()).feed_timeout(LONG)).await;
    let cache = client.cache::<i64, Account>("account").time_to_live(LONG / 4).open().await.unwrap();
    cache.get(&1).await.unwrap();
    client.suspend(LONG / 8);
    assert!(cache.cached(&1).is_some());
    client.suspend(LONG / 8);
    assert!(cache.cached(&1).is_none());
    assert!(cache.entries().is_empty());
    close(client).await;
}
