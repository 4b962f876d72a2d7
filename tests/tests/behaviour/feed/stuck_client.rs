//! A client that stops reading its feed holds up nobody, and is disconnected.

use std::time::Instant;

use cache_sync_cluster::Cluster;
use cache_sync_tests::feed::Feed;
use cache_sync_tests::{Database, SOON, start, unsynced};

fn with_send_timeout(timeout: &str) -> Cluster {
    start(unsynced().setting("cache_sync.send_timeout", timeout))
}

/// A feed whose client has stopped reading, with a message under way that it does not take.
async fn stuck(db: &Database<'_>) -> Feed {
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t')");
    db.psql("INSERT INTO t SELECT n, 0 FROM generate_series(1, 4000) n");
    // The kernel keeps less for a unix socket than for TCP.
    let dsn = format!(
        "host={} port={} user=postgres dbname={}",
        db.cluster().socket_dir().display(),
        db.cluster().port(),
        db.name()
    );
    let feed = Feed::call(&dsn, "").await.unwrap_or_else(|refused| panic!("{refused}"));
    feed.stop_reading();
    let deadline = Instant::now() + SOON;
    while lag(db, &feed) < 20_000 {
        assert!(Instant::now() < deadline, "the feed does not fall behind");
        let begun = Instant::now();
        db.psql("UPDATE t SET v = v + 1");
        assert!(begun.elapsed() < SOON / 4, "a commit waited for the feed");
    }
    feed
}

fn lag(db: &Database<'_>, feed: &Feed) -> i64 {
    let lag = db.psql(&format!("SELECT lag FROM cache_sync.listeners WHERE pid = {}", feed.pid));
    lag.parse().unwrap_or_else(|_| panic!("the feed has ended already"))
}

fn gone(db: &Database<'_>, feed: &Feed) {
    let deadline = Instant::now() + SOON;
    let there = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {}", feed.pid);
    while db.psql(&there) != "0" {
        assert!(Instant::now() < deadline, "the backend is still there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_keep_databases_from_being_created_and_dropped() {
    let cluster = with_send_timeout("60s");
    let db = Database::with_extension_in(&cluster);
    let feed = stuck(&db).await;
    let snapshot = format!("SELECT backend_xmin IS NULL FROM pg_stat_activity WHERE pid = {}", feed.pid);
    assert_eq!(db.psql(&snapshot), "t");
    let begun = Instant::now();
    cluster.createdb("other").unwrap();
    db.psql("DROP DATABASE other");
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    assert!(lag(&db, &feed) > 0, "the feed was not stuck");
    db.psql(&format!("SELECT pg_terminate_backend({})", feed.pid));
    gone(&db, &feed);
}

#[tokio::test(flavor = "multi_thread")]
async fn can_be_cancelled() {
    let cluster = with_send_timeout("60s");
    let db = Database::with_extension_in(&cluster);
    let feed = stuck(&db).await;
    db.psql(&format!("SELECT pg_cancel_backend({})", feed.pid));
    gone(&db, &feed);
}

#[tokio::test(flavor = "multi_thread")]
async fn is_disconnected() {
    let cluster = with_send_timeout("2s");
    let db = Database::with_extension_in(&cluster);
    let feed = stuck(&db).await;
    gone(&db, &feed);
    let log = cluster.log_tail();
    let line = log.lines().find(|line| line.contains("stopped reading its feed")).unwrap_or_else(|| panic!("{log}"));
    for said in [
        "FATAL",
        r#"client: user "postgres", application "", address local, it took nothing for 2."#,
        " changes behind",
    ] {
        assert!(line.contains(said), "{line}");
    }
    let behind = line.split_once(" s, ").unwrap().1.split_once(' ').unwrap().0;
    assert!(behind.parse::<u64>().unwrap() >= 20_000, "{line}");
}
