//! `close` comes back within its time, whatever state the client and its server are in.

use cache_sync::{Cache, Client, Durability, Patch};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{Account, accounts, make_accounts, open};
use cache_sync_tests::{Database, SOON, wait_until};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_millis(300);
/// Until tasks have ended, on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

async fn closes_in_time(client: &Client) -> usize {
    let began = Instant::now();
    let left = tokio::time::timeout(SOON, client.close(DEADLINE)).await.expect("it does not come back").unwrap();
    assert!(began.elapsed() < DEADLINE + SLACK, "it takes {:?}", began.elapsed());
    left.len()
}

/// A network that swallows everything, at each stage: reads, writes, subscriptions and connections are under way.
#[tokio::test]
async fn while_nothing_answers() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).pool_size(1)).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();
    proxy.faults.set(|faults| &faults.silent, true);
    let reads = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_many(&[2, 3]).await.map(|_| ()) }
    });
    let writes = cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap();
    let opening = tokio::spawn({
        let client = client.clone();
        async move { client.cache::<i64, Account>("account").open().await.map(|_| ()) }
    });
    let caught_up = tokio::spawn({
        let client = client.clone();
        async move { client.catch_up().await }
    });
    wait_until(SOON, "the write is in the buffer", async || client.status().buffered == 1).await;
    assert_eq!(closes_in_time(&client).await, 1);
    assert!(writes.written().await.unwrap_err().is_closed());
    assert!(reads.await.unwrap().unwrap_err().is_closed());
    drop((opening, caught_up));
    assert_eq!(closes_in_time(&client).await, 1, "closing it again changes nothing");
}

#[tokio::test]
async fn while_a_table_is_locked_and_a_writer_waits() {
    let db = Database::with_extension();
    make_accounts(&db, 3);
    let client = open(Client::builder(&db.dsn())).await;
    let cache: Cache<i64, Account> = client.cache("account").durability(Durability::Database).open().await.unwrap();
    let theirs = db.connect().await;
    theirs.batch_execute("BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let writer = tokio::spawn(async move { cache.patch(&1, Patch::new().add("balance", 1)).await.map(|_| ()) });
    wait_until(SOON, "the write is in the buffer", async || client.status().buffered == 1).await;
    assert_eq!(closes_in_time(&client).await, 1);
    assert!(writer.await.unwrap().unwrap_err().is_closed());
    theirs.batch_execute("COMMIT").await.unwrap();
}

/// The feed does not go on, and calls wait for it: what they wait for does not come any more.
#[tokio::test]
async fn while_somebody_waits_for_the_feed() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    db.psql("CREATE TABLE other (LIKE account INCLUDING ALL); SELECT cache_sync.attach('other')");
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_secs(600))).await;
    let cache = accounts(&client).await;
    cache.get(&1).await.unwrap();
    let token = client.token().await.unwrap();
    proxy.faults.set(|faults| &faults.silent_feed, true);
    db.psql("UPDATE account SET balance = 1");
    let waiting = [client.clone(), client.clone()].map(|client| tokio::spawn(async move { client.catch_up().await }));
    let opening = {
        let client = client.clone();
        tokio::spawn(async move { client.cache::<i64, Account>("other").open().await.map(drop) })
    };
    client.wait_for(&token).await.unwrap();
    let asked = "SELECT count(*) FROM pg_stat_activity
                 WHERE query LIKE '%feed_head%' AND state = 'idle' AND pid <> pg_backend_pid() AND datname = current_database()";
    wait_until(SOON, "they know how far the feed is to come", async || db.psql(asked) != "0").await;
    client.close(Duration::from_secs(5)).await.unwrap();
    let quick = Duration::from_secs(5);
    for waiting in waiting.into_iter().chain([opening]) {
        let ended = tokio::time::timeout(quick, waiting).await.expect("it ends with the client").unwrap();
        assert!(ended.unwrap_err().is_closed());
    }
}
