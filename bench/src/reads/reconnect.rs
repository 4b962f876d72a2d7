//! How often what is held is loaded again when a client has lost all of its connections, or the server was restarted, while it is read all
//! the time.

use crate::report::{Figure, Report, Target};
use cache_sync::{Cache, Client};
use cache_sync_cluster::Cluster;
use cache_sync_kit::{Dice, Result, connect, wait};
use futures_util::future::try_join_all;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

const ENTRIES: i64 = 100_000;
const READS_PER_SECOND: u64 = 20_000;
const READERS: u64 = 50;
const TICK: Duration = Duration::from_millis(20);
/// How long is read after the loss: each entry four times.
const TIME: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(10);

/// How all connections are lost.
#[derive(Clone, Copy)]
enum Loss {
    /// The server goes on, so what was told meanwhile is still there.
    Terminated,
    /// Nothing is left of what it would have told.
    Restarted,
}

pub(super) async fn run(cluster: &Cluster, database: &str, report: &mut Report) -> Result<()> {
    for (loss, what) in [(Loss::Terminated, "all backends were ended"), (Loss::Restarted, "the server was restarted")] {
        let loads = loads(cluster, database, loss).await?;
        let row = format!("loads of an entry once {what}, {ENTRIES} held, {READS_PER_SECOND} reads/s");
        report.difference(Figure::new("reads", row, "loads", Target::AtMost(2.0)), loads, 0.0);
    }
    Ok(())
}

async fn loads(cluster: &Cluster, database: &str, loss: Loss) -> Result<f64> {
    let (client, cache) = super::open(&cluster.dsn(database), 2 * ENTRIES as u64).await?;
    let keys: Vec<i64> = (0..ENTRIES).collect();
    for keys in keys.chunks(10_000) {
        cache.get_many(keys).await?;
    }
    let before = client.status();
    let loaded_before = cache.status().loaded_keys;
    let start = Instant::now();
    let readers = (0..READERS).map(|reader| tokio::spawn(read(cache.clone(), reader, start + TIME)));
    let readers: Vec<_> = readers.collect();
    match loss {
        Loss::Restarted => cluster.restart_immediate()?,
        Loss::Terminated => {
            let lose = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
            connect(&cluster.dsn(database)).await?.batch_execute(lose).await?;
        }
    }
    let mut read = 0;
    for reader in try_join_all(readers).await? {
        read += reader?;
    }
    let rate = read as f64 / start.elapsed().as_secs_f64();
    if !is_live_again(&client, before.feed_connects).await? {
        return Err("the feed is not heard again".into());
    }
    if rate < 0.95 * READS_PER_SECOND as f64 {
        return Err(format!("only {rate:.0} reads a second").into());
    }
    let loads = (cache.status().loaded_keys - loaded_before) as f64 / ENTRIES as f64;
    super::close(client).await?;
    Ok(loads)
}

/// A reader's share, spread over the time; who cannot read while the server is away tries again. Returns how often it read.
async fn read(cache: Cache<i64, super::Item>, reader: u64, end: Instant) -> Result<u64> {
    let mut dice = Dice::new(reader);
    let mut ticks = tokio::time::interval(TICK);
    // What a slow load kept it from is made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let each_tick = (READS_PER_SECOND as f64 * TICK.as_secs_f64() / READERS as f64).round() as u64;
    let mut read = 0;
    while Instant::now() < end {
        ticks.tick().await;
        for _ in 0..each_tick {
            let key = dice.below(ENTRIES as u64) as i64;
            let found = loop {
                match cache.get(&key).await {
                    Err(error) if error.is_unavailable() => tokio::time::sleep(TICK).await,
                    found => break found?,
                }
            };
            found.ok_or("a row is missing")?;
            read += 1;
        }
    }
    Ok(read)
}

async fn is_live_again(client: &Client, connects: u64) -> Result<bool> {
    let is_live = async || {
        let status = client.status();
        Ok(status.feed_live && status.feed_connects > connects)
    };
    wait::until(SOON, TICK, is_live).await
}
