//! What comes late is not news: a feed on a slow link, messages that waited while nobody read them, an answer that was long under way.
//! Whatever is shown is as of a moment that lies within the bound, whenever it was heard.

use cache_sync::{Cache, Client, Freshness};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, wait_until};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_millis(1500);
/// How much later than the bound a busy machine may let a test look.
const SLACK: Duration = Duration::from_millis(400);

/// A node behind a proxy, with a server that sends heartbeats often.
async fn node(rows: i64) -> (Database<'static>, Proxy, Client, Cache<i64, Account>) {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, rows);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).feed_timeout(BOUND)).await;
    let cache = accounts(&client).await;
    (db, proxy, client, cache)
}

async fn balance(cache: &Cache<i64, Account>) -> i64 {
    cache.get(&1).await.unwrap().unwrap().balance
}

/// 500 bytes a second come through, and the changes make more than that: bytes come all the time, and tell of ever longer ago.
#[tokio::test]
async fn a_feed_that_trickles_is_not_taken_for_one_that_is_heard() {
    let (db, proxy, client, cache) = node(20).await;
    balance(&cache).await;
    proxy.faults.feed_bytes_per_second.store(500, Ordering::Release);
    let writer = db.connect().await;
    // What was committed, and when its reply had come.
    let mut committed: Vec<(Instant, i64)> = vec![(Instant::now(), 0)];
    let begun = Instant::now();
    let mut oldest = Duration::ZERO;
    while begun.elapsed() < 4 * BOUND {
        let next = committed.len() as i64;
        writer.execute("UPDATE account SET balance = $1", &[&next]).await.unwrap();
        committed.push((Instant::now(), next));
        let reads_until = Instant::now() + Duration::from_millis(100);
        while Instant::now() < reads_until {
            let asked = Instant::now();
            let shown = balance(&cache).await;
            // It was overwritten then at the earliest.
            if let Some((overwritten, _)) = committed.iter().find(|(_, number)| *number > shown) {
                oldest = oldest.max(asked.saturating_duration_since(*overwritten));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(oldest <= BOUND + SLACK, "a read showed what had been overwritten {oldest:?} before it");
    proxy.faults.feed_bytes_per_second.store(0, Ordering::Release);
    wait_until(SOON, "the feed is heard again", async || client.status().feed_live).await;
    close(client).await;
}

/// A process that is stopped for a while, or a network that lets a stream wait: what was sent before is heard after.
#[tokio::test]
async fn a_message_that_was_long_under_way_says_nothing_of_now() {
    const LATE: Duration = Duration::from_millis(900);
    let (db, proxy, client, cache) = node(1).await;
    proxy.faults.feed_late_millis.store(LATE.as_millis() as u64, Ordering::Release);
    let is_held = async || {
        balance(&cache).await;
        cache.cached(&1).is_some()
    };
    // The link is slow, but what it tells is within the bound. What is heard then has been late, and more of it is under way.
    db.psql("UPDATE account SET note = 'on its way'");
    wait_until(SOON, "what is late is heard", async || cache.status().changes > 0).await;
    wait_until(SOON, "it is served from memory", is_held).await;
    let as_of = Instant::now();
    proxy.faults.set(|faults| &faults.silent_feed, true);
    db.psql("UPDATE account SET balance = 1");
    while cache.cached(&1).is_some_and(|row| row.unwrap().balance == 0) {
        assert!(as_of.elapsed() < BOUND + SLACK, "messages that are late make the bound longer");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(balance(&cache).await, 1);
    close(client).await;
}

/// A load is answered late, and nothing is heard meanwhile. Who asks then does not get what it read before.
#[tokio::test]
async fn a_reader_does_not_join_a_load_of_which_no_change_would_be_heard() {
    let (db, proxy, client, cache) = node(1).await;
    proxy.faults.set(|faults| &faults.silent_feed, true);
    wait_until(SOON, "the feed is lost", async || !client.status().feed_live).await;
    proxy.faults.set(|faults| &faults.hold_loads, true);
    proxy.faults.loads_to_hold.store(1, Ordering::Release);
    let slow = tokio::spawn({
        let cache = cache.clone();
        async move { balance(&cache).await }
    });
    let is_held = async || proxy.faults.loads_to_hold.load(Ordering::Acquire) == 0;
    wait_until(SOON, "the answer is under way", is_held).await;
    db.psql("UPDATE account SET balance = 1");
    let read =
        tokio::time::timeout(SOON, cache.lookup(&1, Freshness::Cached)).await.expect("a load of his own").unwrap();
    assert_eq!((read.value.unwrap().balance, read.stale_for), (1, None));
    proxy.faults.set(|faults| &faults.hold_loads, false);
    slow.await.unwrap();
    assert_eq!(balance(&cache).await, 1);
    close(client).await;
}

/// The same for queries.
#[tokio::test]
async fn nor_a_query() {
    let (db, proxy, client, cache) = node(1).await;
    balance(&cache).await;
    let sum = || client.query::<Account>("SELECT * FROM account").depends_on_table("account");
    sum().fetch().await.unwrap();
    proxy.faults.set(|faults| &faults.silent_feed, true);
    wait_until(SOON, "the feed is lost", async || !client.status().feed_live).await;
    proxy.faults.set(|faults| &faults.hold_loads, true);
    // The epoch comes along in a row of its own.
    proxy.faults.loads_to_hold.store(1, Ordering::Release);
    let slow = tokio::spawn(sum().fetch());
    let is_held = async || proxy.faults.loads_to_hold.load(Ordering::Acquire) == 0;
    wait_until(SOON, "the answer is under way", is_held).await;
    db.psql("UPDATE account SET balance = 1");
    let read = tokio::time::timeout(SOON, sum().read()).await.expect("a query of his own").unwrap();
    assert_eq!((read.rows[0].balance, read.stale_for), (1, None));
    proxy.faults.set(|faults| &faults.hold_loads, false);
    slow.await.unwrap().unwrap();
    close(client).await;
}
