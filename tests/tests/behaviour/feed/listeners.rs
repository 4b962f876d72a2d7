//! Many feeds at a time: each hears at once, whatever becomes of the others.

use std::time::{Duration, Instant};

use cache_sync_cluster::Cluster;
use cache_sync_core::wire::Body;
use cache_sync_tests::feed::Feed;
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};

/// Far less than a heartbeat of [`cluster_with_rare_heartbeats`], which is what a lost wake-up would be noticed by.
const AT_ONCE: Duration = Duration::from_secs(3);

fn cluster_with_rare_heartbeats() -> Cluster {
    start(unsynced().setting("cache_sync.heartbeat_interval", "30s"))
}

async fn open(db: &Database<'_>, count: usize) -> Vec<Feed> {
    let mut feeds = Vec::new();
    for _ in 0..count {
        feeds.push(Feed::open(db).await);
    }
    feeds
}

fn table(db: &Database<'_>) {
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0); SELECT cache_sync.attach('t')");
}

/// The time until the feed told the change, heartbeats aside.
async fn hears(feed: &mut Feed, since: Instant) -> Duration {
    while !matches!(feed.news().await.body, Body::Changes(changes) if !changes.is_empty()) {}
    since.elapsed()
}

/// A woken feed wakes two others before it reads. Once, feeds that had ended took the only wake-up with them.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_never_silences_others() {
    let cluster = cluster_with_rare_heartbeats();
    let db = Database::with_extension_in(&cluster);
    table(&db);
    let writer = db.connect().await;
    // The places taken first are woken first.
    let mut victims = open(&db, 4).await;
    let mut others = open(&db, 3).await;
    let mut slow = 0;
    for round in 0..200 {
        let pids: Vec<String> = victims.iter().map(|victim| victim.pid.to_string()).collect();
        let killer = db.connect().await;
        let killed = tokio::spawn(async move {
            let sql = format!("SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[{}]) pid", pids.join(","));
            killer.batch_execute(&sql).await.unwrap();
        });
        if round % 2 == 0 {
            victims.clear();
        }
        tokio::time::sleep(Duration::from_micros(round * 37 % 5_000)).await;
        writer.batch_execute("UPDATE t SET v = v + 1").await.unwrap();
        let committed = Instant::now();
        for feed in &mut others {
            slow += i32::from(hears(feed, committed).await > AT_ONCE);
        }
        killed.await.unwrap();
        victims = open(&db, 4).await;
    }
    assert_eq!(slow, 0, "of 600 times that a feed had to hear");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_hear_every_commit() {
    let cluster = cluster_with_rare_heartbeats();
    let db = Database::with_extension_in(&cluster);
    table(&db);
    let mut feeds = open(&db, 20).await;
    for _ in 0..20 {
        db.psql("UPDATE t SET v = v + 1");
        let committed = Instant::now();
        for feed in &mut feeds {
            let took = hears(feed, committed).await;
            assert!(took < AT_ONCE, "{took:?}");
        }
    }
}

#[tokio::test]
async fn one_that_waits_holds_no_snapshot_and_is_seen() {
    let db = Database::with_extension();
    table(&db);
    let feed = Feed::open(&db).await;
    let sees = |sql: &str| db.psql(&format!("SELECT {sql} WHERE pid = {}", feed.pid));
    wait_until(SOON, "the feed waits", async || sees("armed AND lag = 0 FROM cache_sync.listeners") == "t").await;
    assert_eq!(sees("backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity"), "t");
    assert_eq!(sees("wait_event_type FROM pg_stat_activity"), "Extension");
    let begun = sees("xact_start FROM pg_stat_activity");
    wait_until(SOON, "its transaction is a new one", async || sees("xact_start FROM pg_stat_activity") != begun).await;
    let pid = feed.pid;
    drop(feed);
    let gone = format!("SELECT count(*) FROM cache_sync.listeners WHERE pid = {pid}");
    wait_until(SOON, "its place is free", async || db.psql(&gone) == "0").await;
}

#[tokio::test]
async fn no_more_than_the_setting_allows() {
    let cluster = start(unsynced().setting("cache_sync.max_listeners", "2"));
    let db = Database::with_extension_in(&cluster);
    let feeds = open(&db, 2).await;
    let refused = Feed::call(&db.dsn(), "").await.unwrap_err();
    assert!(refused.starts_with("53300"), "{refused}");
    assert_eq!(db.psql("SELECT listeners FROM cache_sync.feed_stats"), "2");
    drop(feeds);
    wait_until(SOON, "the places are free", async || db.psql("SELECT listeners FROM cache_sync.feed_stats") == "0")
        .await;
    Feed::open(&db).await;
}
