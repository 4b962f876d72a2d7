//! Services open a cache for a while and let it go. Its tasks went on, its table could not be opened again, and what it held stayed.

use cache_sync::{Cache, Client, Patch};
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, node_with, open};
use cache_sync_tests::{Database, SOON, wait_until};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Another view of the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Named {
    name: String,
}

#[tokio::test]
async fn a_cache_that_nobody_has_goes_once_its_writes_are_written() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    let client = open(Client::builder(&db.dsn()).flush_interval(Duration::from_secs(3600))).await;
    let cache = accounts(&client).await;
    let row = Arc::downgrade(&cache.get(&1).await.unwrap().unwrap());
    let refused = client.cache::<i64, Account>("account").open().await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("has a cache of that table already"), "{refused}");
    let console = db.connect().await;
    console.batch_execute("BEGIN; SELECT FROM account WHERE id = 1 FOR UPDATE").await.unwrap();
    let receipt = cache.patch(&1, Patch::new().add("balance", 7)).await.unwrap();
    let clone = cache.clone();
    drop(cache);
    assert!(clone.cached(&1).is_some());
    drop(clone);

    // It is opened anew once what was written to it is in Postgres, whatever the flush interval.
    let mut opening = Box::pin(client.cache::<i64, Named>("account").open());
    let early = tokio::time::timeout(Duration::from_millis(100), &mut opening).await;
    assert!(early.is_err(), "the last write is not there yet");
    console.batch_execute("COMMIT").await.unwrap();
    let named = opening.await.unwrap();
    assert_eq!(db.psql("SELECT balance FROM account WHERE id = 1"), "7");
    receipt.written().await.unwrap();
    wait_until(SOON, "its memory is given back", async || row.upgrade().is_none()).await;

    assert_eq!(named.get(&1).await.unwrap().unwrap().name, "name 1");
    db.psql("UPDATE account SET name = 'new' WHERE id = 1");
    client.catch_up().await.unwrap();
    assert_eq!(named.get(&1).await.unwrap().unwrap().name, "new", "changes are heard");
    let receipt = named.put(2, Named { name: "put".into() }).await.unwrap();
    client.flush().await.unwrap();
    receipt.written().await.unwrap();
    assert_eq!(client.status().caches.len(), 1);
    close(client).await;
}

/// Of a table that was attached anew there is one cache, and the one of before goes with its handles, too.
#[tokio::test]
async fn a_cache_that_has_retired_is_not_listed_beside_its_successor() {
    let (db, client, cache) = node_with(1).await;
    cache.get(&1).await.unwrap();
    db.psql("SELECT cache_sync.detach('account'); SELECT cache_sync.attach('account', versioned => true)");
    wait_until(SOON, "the cache retires", async || cache.get(&1).await.is_err()).await;
    let successor = accounts(&client).await;
    assert_eq!(client.status().caches.len(), 1);
    drop(cache);
    db.psql("UPDATE account SET name = 'new'");
    let is_heard = async || successor.get(&1).await.unwrap().unwrap().name == "new";
    wait_until(SOON, "changes are heard as before", is_heard).await;
    close(client).await;
}

#[tokio::test]
async fn many_caches_one_after_the_other_leave_nothing_behind() {
    let (db, client, cache) = node_with(3).await;
    drop(cache);
    let backends = || {
        db.psql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    };
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut before = None;
    for round in 0..60 {
        let cache: Cache<i64, Account> = accounts(&client).await;
        assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, round);
        let _ = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
        if round == 10 {
            before = Some((tasks(), backends()));
        }
    }
    let cache = accounts(&client).await;
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 60);
    let now = async || Some((tasks(), backends())) <= before;
    wait_until(SOON, "there are as many tasks and connections as there were", now).await;
    close(client).await;
}
