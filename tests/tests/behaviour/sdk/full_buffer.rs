//! A write enters the buffer before the entry changes: what was not accepted is not shown.

use cache_sync::{Cache, Client, Patch, WhenFull};
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open};
use cache_sync_tests::{Database, wait_until};
use std::time::Duration;

#[tokio::test]
async fn shows_nothing_that_it_has_not_accepted() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let hour = Duration::from_secs(3600);
    for when_full in [WhenFull::Refuse, WhenFull::Wait] {
        let builder = Client::builder(&db.dsn()).flush_interval(hour).buffer_entries_max(1).when_full(when_full);
        let client = open(builder).await;
        let cache = accounts(&client).await;
        let name = cache.get(&2).await.unwrap().unwrap().name.clone();
        let _ = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
        let second = Account { id: 2, name: format!("{when_full:?}"), balance: 0, note: None };
        let put = cache.put(2, second.clone());
        tokio::pin!(put);
        // Polled once: it is refused, or waits for room.
        let begun = std::future::poll_fn(|context| std::task::Poll::Ready(put.as_mut().poll(context))).await;
        assert_eq!(begun.is_pending(), when_full == WhenFull::Wait);
        assert_eq!(cache.get(&2).await.unwrap().unwrap().name, name, "it is not in the buffer");
        if when_full == WhenFull::Wait {
            client.flush().await.unwrap();
            let _ = put.await.unwrap();
            assert_eq!(cache.get(&2).await.unwrap().unwrap().name, second.name);
        }
        close(client).await;
    }
    assert_eq!(db.psql("SELECT name FROM account WHERE id = 2"), "Wait");
}

/// The flush interval is an hour, and the buffer is full before: whoever waits for room does not wait for that.
#[tokio::test]
async fn is_emptied_at_once_for_those_who_wait_in_their_order() {
    let db = Database::with_extension();
    make_accounts(&db, 40);
    let client =
        open(Client::builder(&db.dsn()).buffer_entries_max(10).flush_interval(Duration::from_secs(3600))).await;
    let cache = accounts(&client).await;
    let write = async || {
        for id in 1..=40 {
            let _ = cache.patch(&id, Patch::new().add("balance", 1)).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), write()).await.expect("they wait for the flush interval");
    let waiting: Vec<_> = (1..=30_i64)
        .map(|number| {
            let cache = cache.clone();
            async move { cache.patch(&1, Patch::new().set("note", number.to_string())).await.unwrap().written().await }
        })
        .collect();
    let waiting = tokio::spawn(futures_util::future::join_all(waiting));
    let accepted = async || client.status().caches[0].writes == 70;
    wait_until(Duration::from_secs(20), "all are accepted", accepted).await;
    client.flush().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("they are not served").unwrap();
    assert_eq!(db.psql("SELECT note FROM account WHERE id = 1"), "30", "the last one came last");
    close(client).await;
}

/// One table that cannot be written once took all the room, and nobody could write any other.
#[tokio::test]
async fn of_one_cache_leaves_room_for_the_others() {
    let db = Database::with_extension();
    make_accounts(&db, 20);
    db.psql("CREATE TABLE other (id bigint PRIMARY KEY, name text NOT NULL); SELECT cache_sync.attach('other')");
    let client = open(Client::builder(&db.dsn()).buffer_entries_max(10)).await;
    let bounded = client.cache::<i64, Account>("account").buffer_entries_max(7).when_full(WhenFull::Refuse);
    let bounded = bounded.open().await.unwrap();
    let other: Cache<i64, Named> = client.cache("other").open().await.unwrap();
    let lock = db.connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE account").await.unwrap();
    for id in 1..=7 {
        let _ = bounded.patch(&id, Patch::new().add("balance", 1)).await.unwrap();
    }
    assert!(bounded.patch(&8, Patch::new().add("balance", 1)).await.unwrap_err().is_full());
    for id in 1..=30 {
        let put = other.put(id, Named { name: format!("{id}") });
        let _ = tokio::time::timeout(Duration::from_secs(20), put).await.expect("there is room").unwrap();
    }
    lock.batch_execute("COMMIT").await.unwrap();
    client.flush().await.unwrap();
    let _ = bounded.patch(&8, Patch::new().add("balance", 1)).await.expect("there is room again");
    client.flush().await.unwrap();
    assert_eq!(db.psql("SELECT sum(balance), (SELECT count(*) FROM other) FROM account"), "8|30");
    assert_eq!((client.status().buffered, client.status().buffered_bytes), (0, 0));
    close(client).await;
}

#[derive(Clone, serde::Deserialize, serde::Serialize)]
struct Named {
    name: String,
}
