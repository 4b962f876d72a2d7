//! Misses of distinct keys by many tasks, against one SELECT for each, and against a loop that asks for a thousand at a time.

use super::by_hand::{self, BATCH, ByHand, MANY};
use super::{CONCURRENT, CONNECTIONS, HELD, Item, ROWS, SELECT};
use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use cache_sync::Cache;
use cache_sync_kit::{Result, connect};
use deadpool_postgres::{Manager, Pool};
use futures_util::future::try_join_all;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

pub(super) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let row = |theirs: &str| format!("misses, {CONCURRENT} at a time / {theirs}");
    let figure = |theirs: &str, least| Figure::new("reads", row(theirs), "keys/s", Target::AtLeast(least));

    let alone = Arc::new(connect(dsn).await?);
    let ours = async || once(dsn).await;
    let theirs = async || tokio::spawn(with_batches(alone.clone())).await?;
    let sides = rounds.alternate(ours, theirs).await?;
    let loop_of_batches = row("= ANY of 1,000, one after the other, by one who waits for nothing else");
    report.rounds(Figure::new("reads", loop_of_batches, "keys/s", Target::None), &sides);

    let theirs = async || {
        let loader = Arc::new(ByHand::new(dsn, 2 * ROWS as u64).await?);
        let reading = loader.clone();
        let rate = all_once(move |key| {
            let loader = reading.clone();
            async move { loader.get(key).await }
        })
        .await?;
        by_hand::close(loader).await?;
        Ok(rate)
    };
    let sides = rounds.alternate(ours, theirs).await?;
    report.rounds(figure("moka and = ANY of up to 1,000 by hand, 256 at a time", 0.7), &sides);

    let (client, cache) = super::open(dsn, HELD).await?;
    let ours = async || with_cache(&cache, rounds.time()).await;
    let pool = Pool::builder(Manager::new(dsn.parse()?, NoTls)).max_size(CONNECTIONS).build()?;
    // As many at a time over as many connections, which keeps both processors busy on both sides; and one at a time.
    for (others, name) in [(CONCURRENT, "256 SELECTs at a time"), (1, "1 SELECT at a time")] {
        let theirs = async || with_selects(&pool, others, rounds.time()).await;
        let sides = rounds.alternate(ours, theirs).await?;
        report.rounds(figure(name, 10.0), &sides);
    }
    super::close(client).await
}

/// 256 readers that read all keys of a cache once, which has room for them.
async fn once(dsn: &str) -> Result<f64> {
    let (client, cache) = super::open(dsn, 2 * ROWS as u64).await?;
    let reading = cache.clone();
    let rate = all_once(move |key| {
        let cache = reading.clone();
        async move { Ok(cache.get(&key).await?) }
    })
    .await?;
    if cache.status().loaded_keys != ROWS as u64 {
        return Err("not each key was loaded once".into());
    }
    super::close(client).await?;
    Ok(rate)
}

/// 256 readers that read all keys once; how many in a second.
async fn all_once<F>(read: impl Fn(i64) -> F + Clone + Send + 'static) -> Result<f64>
where
    F: Future<Output = Result<Option<Arc<Item>>>> + Send,
{
    let start = Instant::now();
    let readers = (0..CONCURRENT).map(|reader| {
        let read = read.clone();
        tokio::spawn(async move {
            for key in (reader..ROWS).step_by(CONCURRENT as usize) {
                read(key).await?.ok_or("a row is missing")?;
            }
            Result::Ok(())
        })
    });
    for reader in try_join_all(readers).await? {
        reader?;
    }
    Ok(ROWS as f64 / start.elapsed().as_secs_f64())
}

/// 256 readers, each of which misses again and again.
async fn with_cache(cache: &Cache<i64, Item>, time: Duration) -> Result<f64> {
    let before = cache.status().misses;
    let reading = cache.clone();
    let rate = with_readers(CONCURRENT, time, move |key| {
        let cache = reading.clone();
        async move {
            black_box(cache.get(&key).await?.ok_or("a row is missing")?);
            Ok(())
        }
    });
    let (reads, rate) = rate.await?;
    let missed = cache.status().misses - before;
    // Of 200,000 keys in turn a few are still among the thousand that are held.
    if missed < reads - reads / 100 {
        return Err(format!("{reads} reads, but only {missed} misses").into());
    }
    Ok(rate * missed as f64 / reads as f64)
}

/// One loop that asks for a thousand rows at a time, and keeps all in a map, as a loader by hand would.
async fn with_batches(client: Arc<tokio_postgres::Client>) -> Result<f64> {
    let statement = client.prepare(MANY).await?;
    let start = Instant::now();
    let mut items: HashMap<i64, Arc<Item>> = HashMap::new();
    for first in (0..ROWS).step_by(BATCH) {
        let keys: Vec<i64> = (first..ROWS).take(BATCH).collect();
        for row in client.query(&statement, &[&keys]).await? {
            items.insert(row.try_get("id")?, Arc::new(Item::read(&row)?));
        }
    }
    Ok(items.len() as f64 / start.elapsed().as_secs_f64())
}

async fn with_selects(pool: &Pool, readers: i64, time: Duration) -> Result<f64> {
    let pool = pool.clone();
    let rate = with_readers(readers, time, move |key| {
        let pool = pool.clone();
        async move {
            let client = pool.get().await?;
            let statement = client.prepare_cached(SELECT).await?;
            black_box(Item::read(&client.query_one(&statement, &[&key]).await?)?);
            Ok(())
        }
    });
    Ok(rate.await?.1)
}

/// So many readers, each of which reads keys of its own for so long: how many they read, and how many in a second.
async fn with_readers<F>(
    readers: i64,
    time: Duration,
    read: impl Fn(i64) -> F + Clone + Send + 'static,
) -> Result<(u64, f64)>
where
    F: Future<Output = Result<()>> + Send,
{
    let start = Instant::now();
    let readers = (0..readers).map(|reader| {
        let read = read.clone();
        tokio::spawn(async move {
            let (mut reads, mut key) = (0, reader);
            while start.elapsed() < time {
                read(key).await?;
                key = (key + CONCURRENT) % ROWS;
                reads += 1;
            }
            Result::Ok(reads)
        })
    });
    let mut reads = 0;
    for reader in try_join_all(readers).await? {
        reads += reader?;
    }
    Ok((reads, reads as f64 / start.elapsed().as_secs_f64()))
}
