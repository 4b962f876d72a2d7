//! What all peers do: they read what was written, by themselves and, once told or after their bound, by others.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use cache_sync_cluster::{Cluster, Options, Redis};
use cache_sync_kit::wait;
use cache_sync_peers::{CacheAside, Change, Database, FIELD_BYTES, Peer, Record, Write};

const ROWS: u64 = 10;
/// How long a test waits for what comes soon when all is well.
const SOON: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);
/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(600);

async fn cluster() -> (Cluster, String) {
    let cluster = Options::default().fsync(false).start().unwrap();
    let dsn = cluster.dsn("postgres");
    Database::create(&dsn, ROWS).await.unwrap();
    (cluster, dsn)
}

/// Each kind of write by one node is read by it at once, and soon by another one that held what was there before. What is held costs
/// no statement.
async fn reads_what_was_written(here: &impl Peer, there: &impl Peer) {
    let text = "y".repeat(FIELD_BYTES);
    let mut expected = Record::filled(1, &"x".repeat(FIELD_BYTES));
    assert_eq!(here.read(3).await.unwrap().as_deref(), Some(&expected));
    let read = there.read(3).await.unwrap().unwrap();
    assert_eq!(*read, expected);
    let changes = [Change::Field { number: 7, text: &text }, Change::Count, Change::CountFrom(&read)];
    for (change, version) in changes.into_iter().zip(2..) {
        here.write(Write { key: 3, version, change }).await.unwrap();
        match change {
            Change::Field { .. } => expected.field7.clone_from(&text),
            _ => expected.counter = 1,
        }
        expected.version = version;
        assert_eq!(here.read(3).await.unwrap().as_deref(), Some(&expected), "{change:?}");
        let seen = wait::until(SOON, PAUSE, async || Ok(there.read(3).await?.as_deref() == Some(&expected))).await;
        assert!(seen.unwrap(), "{change:?}");
    }
    let key = ROWS as i64;
    assert_eq!(here.read(key).await.unwrap(), None);
    here.write(Write { key, version: 1, change: Change::Insert(&text) }).await.unwrap();
    let inserted = Record::filled(1, &text);
    let seen = wait::until(SOON, PAUSE, async || Ok(there.read(key).await?.as_deref() == Some(&inserted))).await;
    assert!(seen.unwrap());
    here.settle().await.unwrap();
}

/// Another number of statements is there after a read only if the peer holds nothing.
async fn statements_of_a_hit(peer: &impl Peer) -> u64 {
    peer.read(5).await.unwrap();
    let before = peer.statements();
    peer.read(5).await.unwrap();
    peer.statements() - before
}

#[tokio::test]
async fn cache_aside() {
    let ((_cluster, dsn), redis) = (cluster().await, Redis::start().unwrap_or_else(|error| panic!("{error}")));
    let open = async || CacheAside::open(&dsn, &redis.url(), LONG).await.unwrap();
    let (here, there) = (open().await, open().await);
    reads_what_was_written(&here, &there).await;
    assert_eq!(statements_of_a_hit(&here).await, 0);
    let short = CacheAside::open(&dsn, &redis.url(), Duration::from_millis(1)).await.unwrap();
    short.read(1).await.unwrap();
    let reloads = async || {
        short.read(1).await?;
        Ok(short.statements() > 1)
    };
    assert!(wait::until(SOON, PAUSE, reloads).await.unwrap(), "what is there stays for ever");
}
