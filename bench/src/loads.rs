//! Misses of distinct keys, against one SELECT for each.

use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use cache_sync::{Cache, Client};
use cache_sync_kit::{Result, connect};
use deadpool_postgres::{Manager, Pool};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

/// A multiple of the readers, so that each of them has keys of its own.
const ROWS: i64 = 800 * CONCURRENT;
const CONCURRENT: i64 = 256;
const CONNECTIONS: usize = 4;
/// So few entries are held that a key is gone when its turn comes again.
const HELD: u64 = 1000;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item {
    name: String,
    price: i32,
}

pub(crate) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    connect(dsn)
        .await?
        .batch_execute(&format!(
            "CREATE TABLE item (id bigint PRIMARY KEY, name text NOT NULL, price int NOT NULL);
             SELECT cache_sync.attach('item');
             INSERT INTO item SELECT i, 'item ' || i, i FROM generate_series(0, {ROWS} - 1) i; ANALYZE item"
        ))
        .await?;
    let client = Client::builder(dsn).pool_size(CONNECTIONS).connect().await?;
    let cache: Cache<i64, Item> = client.cache("item").max_capacity(HELD).open().await?;
    let pool = Pool::builder(Manager::new(dsn.parse()?, NoTls)).max_size(CONNECTIONS).build()?;
    // As many at a time over as many connections, which keeps both processors busy on both sides; and one at a time.
    for (others, name) in [(CONCURRENT, "SELECTs at a time"), (1, "SELECT at a time")] {
        let ours = async || with_cache(&cache, rounds.time()).await;
        let theirs = async || with_selects(&pool, others, rounds.time()).await;
        let sides = rounds.alternate(ours, theirs).await?;
        let row = format!("misses, {CONCURRENT} at a time / {others} {name}");
        report.rounds(Figure::new("loads", row, "keys/s", Target::AtLeast(10.0)), &sides);
    }
    client.close(Duration::from_secs(10)).await?;
    Ok(())
}

/// 256 readers, each of which misses again and again.
async fn with_cache(cache: &Cache<i64, Item>, time: Duration) -> Result<f64> {
    let start = Instant::now();
    let before = cache.status();
    let readers = (0..CONCURRENT).map(|reader| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let mut read = 0;
            let mut key = reader;
            while start.elapsed() < time {
                cache.get(&key).await?.ok_or("a row is missing")?;
                key = (key + CONCURRENT) % ROWS;
                read += 1;
            }
            Result::Ok(read)
        })
    });
    let mut read = 0;
    for reader in try_join_all(readers).await? {
        read += reader?;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let missed = cache.status().misses - before.misses;
    // Of 200,000 keys in turn a few are still among the thousand that are held.
    if missed < read - read / 100 {
        return Err(format!("{read} reads, but only {missed} misses").into());
    }
    Ok(missed as f64 / elapsed)
}

async fn with_selects(pool: &Pool, readers: i64, time: Duration) -> Result<f64> {
    let start = Instant::now();
    let readers = (0..readers).map(|reader| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut read = 0;
            let mut key = reader;
            while start.elapsed() < time {
                let client = pool.get().await?;
                let statement = client.prepare_cached("SELECT name, price FROM item WHERE id = $1").await?;
                let row = client.query_one(&statement, &[&key]).await?;
                std::hint::black_box(Item { name: row.try_get(0)?, price: row.try_get(1)? });
                key = (key + CONCURRENT) % ROWS;
                read += 1;
            }
            Result::Ok(read)
        })
    });
    let mut read = 0;
    for reader in try_join_all(readers).await? {
        read += reader?;
    }
    Ok(f64::from(read) / start.elapsed().as_secs_f64())
}
