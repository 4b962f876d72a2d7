//! What all peers do: they read what was written, by themselves and, once told or after their bound, by others.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use cache_sync::Durability;
use cache_sync_cluster::{Cluster, Options, Redis};
use cache_sync_kit::wait;
use cache_sync_peers::{
    CacheAside, CacheSync, Change, Database, FIELD_BYTES, FIELDS, Foyer, Notified, Peer, Plain, Record, Tracked, Write,
    Written,
};

const ROWS: u64 = 10;
/// More than there are rows.
const HELD: usize = 1000;
/// How long a test waits for what comes soon when all is well.
const SOON: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);
const FEED_TIMEOUT: Duration = Duration::from_secs(3);
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
    let first = here.read(3).await.unwrap().unwrap();
    assert_eq!((&*first, there.read(3).await.unwrap().as_deref()), (&expected, Some(&expected)));
    let changes = [Change::Field { number: 7, text: &text }, Change::CountFrom(&first), Change::Count];
    for (change, version) in changes.into_iter().zip(2..) {
        here.write(Write { key: 3, version, change }).await.unwrap();
        match change {
            Change::Field { .. } => expected.field7.clone_from(&text),
            _ => expected.counter += 1,
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

/// Of the second read of a row.
async fn statements_of_a_hit(peer: &impl Peer) -> u64 {
    peer.read(5).await.unwrap();
    let before = peer.statements();
    peer.read(5).await.unwrap();
    peer.statements() - before
}

#[tokio::test]
async fn plain() {
    let (_cluster, dsn) = cluster().await;
    let (here, there) = (Plain::open(&dsn).unwrap(), Plain::open(&dsn).unwrap());
    reads_what_was_written(&here, &there).await;
    assert_eq!(statements_of_a_hit(&here).await, 1);
    assert!(Plain::open("nonsense").is_err());
    // What both computed from the same row counts once.
    for (peer, read) in [(&here, here.read(1).await.unwrap()), (&there, there.read(1).await.unwrap())] {
        peer.write(Write { key: 1, version: 2, change: Change::CountFrom(&read.unwrap()) }).await.unwrap();
    }
    assert_eq!(here.read(1).await.unwrap().unwrap().counter, 1);
    let nowhere = here.write(Write { key: 99, version: 1, change: Change::Count }).await.err().unwrap();
    assert_eq!(nowhere.to_string(), "0 rows were written where one should be");
    let change = Change::Field { number: FIELDS, text: "" };
    let nothing = here.write(Write { key: 1, version: 1, change }).await.err().unwrap();
    assert_eq!(nothing.to_string(), "there is no field 10");
}

#[tokio::test]
async fn foyer() {
    let (_cluster, dsn) = cluster().await;
    let brief = Duration::from_millis(20);
    let (here, there) = (Foyer::open(&dsn, HELD, brief).unwrap(), Foyer::open(&dsn, HELD, brief).unwrap());
    reads_what_was_written(&here, &there).await;
    let lasting = Foyer::open(&dsn, HELD, LONG).unwrap();
    assert_eq!(statements_of_a_hit(&lasting).await, 0);
    here.write(Write { key: 5, version: 9, change: Change::Count }).await.unwrap();
    assert_eq!(lasting.read(5).await.unwrap().unwrap().version, 1, "who told it?");
}

#[tokio::test]
async fn notified() {
    let (cluster, dsn) = cluster().await;
    Notified::install(&dsn).await.unwrap();
    let open = async || Notified::open(&dsn, HELD as u64, LONG).await.unwrap();
    let (here, there) = (open().await, open().await);
    reads_what_was_written(&here, &there).await;
    assert_eq!(statements_of_a_hit(&there).await, 0);
    // A node's own write drops the row once: what it has read since stays. Notifications come in their order.
    // Row 6 is held, so that it is its notification that brings what the other node writes.
    here.read(6).await.unwrap();
    here.write(Write { key: 5, version: 2, change: Change::Count }).await.unwrap();
    here.read(5).await.unwrap();
    there.write(Write { key: 6, version: 2, change: Change::Count }).await.unwrap();
    let heard = async || Ok(here.read(6).await?.is_some_and(|row| row.version == 2));
    assert!(wait::until(SOON, PAUSE, heard).await.unwrap());
    let before = here.statements();
    here.read(5).await.unwrap();
    assert_eq!(here.statements(), before, "it was dropped twice");
    // What nobody notifies the node of, since its connection is gone, it does not serve from memory.
    cluster
        .psql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid();
             UPDATE record SET version = 9 WHERE id = 5",
        )
        .unwrap();
    let seen = wait::until(SOON, PAUSE, async || Ok(there.read(5).await?.is_some_and(|row| row.version == 9))).await;
    assert!(seen.unwrap());
    let hits = async || Ok(statements_of_a_hit(&there).await == 0);
    assert!(wait::until(SOON, PAUSE, hits).await.unwrap(), "it never listens again");
    assert_eq!(there.read(5).await.unwrap().unwrap().version, 9, "it still holds what it was not told of");
}

#[tokio::test]
async fn cache_aside() {
    let ((_cluster, dsn), redis) = (cluster().await, redis());
    let open = async |time| CacheAside::open(&dsn, &redis.url(), time).await.unwrap();
    let (here, there) = (open(LONG).await, open(LONG).await);
    reads_what_was_written(&here, &there).await;
    assert_eq!(statements_of_a_hit(&here).await, 0);
    let short = open(Duration::from_millis(1)).await;
    short.read(1).await.unwrap();
    let reloads = async || {
        short.read(1).await?;
        Ok(short.statements() > 1)
    };
    assert!(wait::until(SOON, PAUSE, reloads).await.unwrap(), "what is there stays for ever");
}

#[tokio::test]
async fn tracked() {
    let ((_cluster, dsn), redis) = (cluster().await, redis());
    let open = async || Tracked::open(&dsn, &redis.url(), HELD as u64, LONG).await.unwrap();
    let (here, there) = (open().await, open().await);
    reads_what_was_written(&here, &there).await;
    assert_eq!(statements_of_a_hit(&there).await, 0);
    // Held in memory: read there, and by nobody else, Redis would not have been asked.
    let mut admin = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let asked = async |admin: &mut redis::aio::MultiplexedConnection| {
        let stats: redis::InfoDict = redis::cmd("INFO").arg("commandstats").query_async(admin).await.unwrap();
        let text: String = stats.get("cmdstat_get").unwrap();
        text.split([',', '=']).nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = asked(&mut admin).await;
    there.read(5).await.unwrap();
    assert_eq!(asked(&mut admin).await, before, "it is not held in memory");
    // Nor is it once the connection has ended, since nobody tells then.
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).exec_async(&mut admin).await.unwrap();
    cluster_write(&dsn, "UPDATE record SET version = 9 WHERE id = 5").await;
    redis::cmd("DEL").arg("record:5").exec_async(&mut admin).await.unwrap();
    let seen = async || Ok(there.read(5).await.is_ok_and(|row| row.is_some_and(|row| row.version == 9)));
    assert!(wait::until(SOON, PAUSE, seen).await.unwrap());
    // The other node's connection was ended, too: its first attempt may find that out.
    let write = async || Ok(here.write(Write { key: 5, version: 10, change: Change::Count }).await.is_ok());
    assert!(wait::until(SOON, PAUSE, write).await.unwrap(), "it never writes again");
    let seen = async || Ok(there.read(5).await.is_ok_and(|row| row.is_some_and(|row| row.version == 10)));
    assert!(wait::until(SOON, PAUSE, seen).await.unwrap(), "it is not told any more");
}

#[tokio::test]
async fn cache_sync() {
    let (_cluster, dsn) = cluster().await;
    CacheSync::install(&dsn).await.unwrap();
    for durability in [Durability::Memory, Durability::Database] {
        let open = async || CacheSync::open(&dsn, HELD as u64, durability, FEED_TIMEOUT).await.unwrap();
        let (here, there) = (open().await, open().await);
        reads_what_was_written(&here, &there).await;
        assert_eq!(statements_of_a_hit(&there).await, 0);
        let written = here.write(Write { key: 2, version: 2, change: Change::Count }).await.unwrap();
        match (written, durability) {
            (Written::Committed, Durability::Database) => {}
            (Written::Buffered(outcome), Durability::Memory) => outcome.await.unwrap(),
            _ => panic!("{durability:?}"),
        }
        // What both computed from the same row counts twice: differences add up.
        for (peer, read) in [(&here, here.read(1).await.unwrap()), (&there, there.read(1).await.unwrap())] {
            peer.write(Write { key: 1, version: 2, change: Change::CountFrom(&read.unwrap()) }).await.unwrap();
        }
        there.settle().await.unwrap();
        here.settle().await.unwrap();
        let both = async || Ok(here.read(1).await?.is_some_and(|row| row.counter == 2));
        assert!(wait::until(SOON, PAUSE, both).await.unwrap());
        cluster_write(&dsn, &format!("DELETE FROM record WHERE id >= 10; {RESET}")).await;
    }
}

/// Rows 1 and 3 as they were.
const RESET: &str = "UPDATE record SET (version, counter, field7) = (1, 0, field0) WHERE id IN (1, 3)";

async fn cluster_write(dsn: &str, sql: &str) {
    cache_sync_kit::connect(dsn).await.unwrap().batch_execute(sql).await.unwrap();
}

fn redis() -> Redis {
    Redis::start().unwrap_or_else(|error| panic!("{error}"))
}
