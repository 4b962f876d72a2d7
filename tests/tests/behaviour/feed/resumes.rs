//! A feed goes on where the last one ended, or says that it cannot.

use cache_sync_cluster::{Cluster, Variant};
use cache_sync_core::wire::{Body, Message};
use cache_sync_tests::feed::Feed;
use cache_sync_tests::{Database, start, unsynced};

fn table(db: &Database<'_>) {
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t')");
}

async fn from(db: &Database<'_>, at: &Message, back: u64) -> Feed {
    let arguments = format!("NULL, {}, {}", at.epoch, at.position.0 - back);
    Feed::call(&db.dsn(), &arguments).await.unwrap_or_else(|refused| panic!("{refused}"))
}

fn small_ring(variant: Variant) -> Cluster {
    start(unsynced().variant(variant).setting("cache_sync.ring_size", "1024"))
}

#[tokio::test]
async fn where_the_last_one_ended() {
    let db = Database::with_extension();
    table(&db);
    let first = Feed::open(&db).await;
    assert_eq!(first.start.body, Body::Start { resumed: false });
    let at = first.start.clone();
    drop(first);
    db.psql("INSERT INTO t VALUES (1), (2)");
    let mut feed = from(&db, &at, 0).await;
    assert_eq!(feed.start.body, Body::Start { resumed: true });
    assert_eq!(feed.start.position, at.position);
    assert_eq!(feed.changes(&db).await.len(), 2);
}

#[tokio::test]
async fn but_not_from_another_epoch_or_the_future() {
    let db = Database::with_extension();
    table(&db);
    let at = Feed::open(&db).await.start.clone();
    for arguments in [
        format!("NULL, {}, {}", at.epoch.0 + 1, at.position),
        format!("NULL, {}, {}", at.epoch, at.position.0 + 1_000_000_000),
        format!("NULL, {}, -1", at.epoch),
        format!("NULL, {}, NULL", at.epoch),
    ] {
        let feed = Feed::call(&db.dsn(), &arguments).await.unwrap();
        assert_eq!(feed.start.body, Body::Start { resumed: false }, "{arguments}");
    }
}

#[tokio::test]
async fn not_from_what_the_ring_has_lost() {
    let cluster = small_ring(Variant::Plain);
    let db = Database::with_extension_in(&cluster);
    table(&db);
    let at = Feed::open(&db).await.start.clone();
    db.psql("INSERT INTO t SELECT n, 0 FROM generate_series(1, 1024) n");
    assert_eq!(from(&db, &at, 0).await.start.body, Body::Start { resumed: true });
    db.psql("UPDATE t SET v = 1 WHERE id = 1");
    assert_eq!(from(&db, &at, 0).await.start.body, Body::Start { resumed: false });
}

#[tokio::test]
async fn one_that_was_overrun_says_so_and_goes_on() {
    let cluster = small_ring(Variant::Plain);
    let db = Database::with_extension_in(&cluster);
    table(&db);
    let mut feed = Feed::open(&db).await;
    // More in one transaction than the ring holds.
    db.psql("INSERT INTO t SELECT n, 0 FROM generate_series(1, 1500) n");
    assert_eq!(feed.news().await.body, Body::Gap);
    db.psql("UPDATE t SET v = 1 WHERE id = 1");
    assert_eq!(feed.changes(&db).await.len(), 1);
}

#[tokio::test]
async fn not_over_a_crash_between_commit_and_publishing() {
    let cluster = small_ring(Variant::TestFaults);
    let db = Database::with_extension_in(&cluster);
    table(&db);
    db.psql("INSERT INTO t VALUES (1, 0)");
    let feed = Feed::open(&db).await;
    let at = feed.start.clone();
    db.try_psql("SET cache_sync.kill_before_publish = on; UPDATE t SET v = 1").unwrap_err();
    // The server ends all backends and starts anew.
    feed.end().await;
    db.until_back().await;
    assert_eq!(db.psql("SELECT v FROM t"), "1", "it was committed");
    let feed = from(&db, &at, 0).await;
    assert_ne!(feed.start.epoch, at.epoch);
    assert_eq!(feed.start.body, Body::Start { resumed: false });
}
