//! Postgres stops answering while rows are held: they are served after a moment, and then without waiting at all.

use cache_sync::{Client, Freshness};
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, cluster_with_quick_heartbeats, wait_until};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_millis(400);

#[derive(serde::Deserialize)]
struct Count {
    count: i64,
}

/// A network that swallows everything. Each read once waited for as long as a query may take.
#[tokio::test]
async fn one_waits_for_a_moment_and_the_others_not_at_all() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 50);
    let proxy = Proxy::start(db.cluster().port()).await;
    let builder = Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_millis(500));
    let builder = builder.query_timeout(Duration::from_secs(10)).connect_timeout(Duration::from_secs(1));
    let client = open(builder.stale_while_unavailable(Duration::from_secs(600)).stale_after(WAIT)).await;
    let cache = accounts(&client).await;
    let ids: Vec<i64> = (1..=50).collect();
    cache.get_many(&ids).await.unwrap();
    let rows = || client.query::<Count>("SELECT count(*) FROM account").depends_on_table("account");
    rows().read().await.unwrap();

    proxy.faults.set(|faults| &faults.silent, true);
    wait_until(SOON, "nothing counts as fresh", async || !client.status().feed_live).await;
    let began = Instant::now();
    assert!(cache.lookup(&1, Freshness::Cached).await.unwrap().stale_for.is_some());
    assert!((WAIT..WAIT * 6).contains(&began.elapsed()), "it takes {:?}", began.elapsed());
    let began = Instant::now();
    for id in &ids {
        assert!(cache.lookup(id, Freshness::Cached).await.unwrap().stale_for.is_some());
    }
    let counted = rows().read().await.unwrap();
    assert!(counted.stale_for.is_some() && counted.rows[0].count == 50);
    assert!(began.elapsed() < 2 * WAIT, "they take {:?}", began.elapsed());

    proxy.faults.set(|faults| &faults.silent, false);
    let is_back = async || cache.lookup(&1, Freshness::Cached).await.is_ok_and(|read| read.stale_for.is_none());
    wait_until(Duration::from_secs(30), "rows are confirmed again", is_back).await;
    close(client).await;
}

/// A lock on one table: what is held of it is served after the moment, and the others are asked as ever.
#[tokio::test]
async fn a_table_that_is_locked_says_nothing_of_the_others() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 5);
    db.psql("CREATE TABLE other AS TABLE account; ALTER TABLE other ADD PRIMARY KEY (id); SELECT cache_sync.attach('other')");
    let builder = Client::builder(&db.dsn()).stale_while_unavailable(Duration::from_secs(600)).stale_after(WAIT);
    let client = open(builder).await;
    let (locked, other) =
        (accounts(&client).await, client.cache::<i64, cache_sync_tests::rows::Account>("other").open().await.unwrap());
    locked.get(&1).await.unwrap();
    // What is held of it has to be confirmed.
    db.psql("ALTER TABLE account ADD COLUMN more int");
    wait_until(SOON, "it is doubted", async || locked.cached(&1).is_none()).await;
    let theirs = db.connect().await;
    theirs.batch_execute("BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let waiting = tokio::spawn(async move { locked.lookup(&1, Freshness::Cached).await });
    while !waiting.is_finished() {
        other.invalidate(&1);
        assert!(
            other.lookup(&1, Freshness::Cached).await.unwrap().stale_for.is_none(),
            "the other table is not locked"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(waiting.await.unwrap().unwrap().stale_for.is_some());
    theirs.batch_execute("COMMIT").await.unwrap();
    close(client).await;
}

/// A query that takes longer than the moment: each time it was given up, and what is held was never replaced.
#[tokio::test]
async fn a_slow_query_is_answered_with_what_is_held_and_arrives_all_the_same() {
    let db = Database::with_extension_in(cluster_with_quick_heartbeats());
    make_accounts(&db, 5);
    db.psql("CREATE TABLE pace (seconds float8); INSERT INTO pace VALUES (0)");
    let proxy = Proxy::start(db.cluster().port()).await;
    let builder = Client::builder(&proxy.dsn(&db)).feed_timeout(Duration::from_millis(500));
    let client = open(builder.stale_while_unavailable(Duration::from_secs(600)).stale_after(WAIT)).await;
    let sql = "SELECT count(*) FROM account, (SELECT pg_sleep(seconds) FROM pace) AS s";
    let rows = || client.query::<Count>(sql).depends_on_table("account").assume_complete();
    assert_eq!(rows().read().await.unwrap().rows[0].count, 5);

    proxy.faults.feed_late_millis.store(60_000, Ordering::Release);
    wait_until(SOON, "nothing counts as fresh", async || !client.status().feed_live).await;
    let seconds = 3.0 * WAIT.as_secs_f64();
    db.psql(&format!("UPDATE pace SET seconds = {seconds}; INSERT INTO account (id, name) VALUES (6, 'six')"));
    let is_there = async || {
        let began = Instant::now();
        let read = rows().read().await.unwrap();
        assert!(read.stale_for.is_some() && began.elapsed() < 3 * WAIT, "{:?} {:?}", read.stale_for, began.elapsed());
        read.rows[0].count == 6
    };
    wait_until(SOON, "what was loaded meanwhile is held", is_there).await;
    close(client).await;
}
