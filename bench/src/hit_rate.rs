//! How many reads hit where less is held than is read: what moka is told of few reads must decide as well as what it is told of all.

use crate::report::{Figure, Report, Target};
use crate::trace::Trace;
use cache_sync::{Cache, Client};
use cache_sync_kit::{Result, connect};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const HELD: u64 = 1_000;
const READS: usize = 100_000;
/// moka's guesses are other ones each time.
const RUNS: usize = 3;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item {
    price: i32,
}

pub(crate) async fn run(dsn: &str, report: &mut Report) -> Result<()> {
    connect(dsn)
        .await?
        .batch_execute(&format!(
            "CREATE TABLE traced (id bigint PRIMARY KEY, price int NOT NULL);
             SELECT cache_sync.attach('traced');
             INSERT INTO traced SELECT i, i FROM generate_series(0, 20 * {HELD}) i;
             ANALYZE traced"
        ))
        .await?;
    for trace in Trace::ALL {
        let keys = trace.draw(HELD, READS);
        let (mut ours, mut weighing, mut counting) = (0.0, 0.0, 0.0);
        for _ in 0..RUNS {
            ours += with_cache(dsn, &keys).await? / RUNS as f64;
            weighing += with_moka(&weighing_moka(), &keys) / RUNS as f64;
            counting += with_moka(&moka::sync::Cache::new(HELD), &keys) / RUNS as f64;
        }
        let row = |theirs| format!("hit rate, {}, {HELD} held, ours - {theirs}", trace.name());
        report.difference(Figure::new("hit", row("moka's"), "percent", Target::AtLeast(-1.0)), ours, weighing);
        report.difference(Figure::new("hit", row("counting moka's"), "percent", Target::None), ours, counting);
    }
    Ok(())
}

async fn with_cache(dsn: &str, keys: &[i64]) -> Result<f64> {
    let client = Client::connect(dsn).await?;
    let cache: Cache<i64, Item> = client.cache("traced").max_capacity(HELD).open().await?;
    for key in keys {
        cache.get(key).await?.ok_or("a row is missing")?;
    }
    let hits = cache.status().hits;
    client.close(Duration::from_secs(10)).await?;
    Ok(share(hits, keys))
}

/// It weighs what it holds, as it does in a cache: it keeps smaller statistics then.
fn weighing_moka() -> moka::sync::Cache<i64, ()> {
    const WEIGHT: u32 = 1000;
    moka::sync::Cache::builder().weigher(|_, ()| WEIGHT).max_capacity(HELD * u64::from(WEIGHT)).build()
}

fn with_moka(moka: &moka::sync::Cache<i64, ()>, keys: &[i64]) -> f64 {
    let mut hits = 0;
    for key in keys {
        match moka.get(key) {
            Some(()) => hits += 1,
            None => moka.insert(*key, ()),
        }
    }
    share(hits, keys)
}

fn share(hits: u64, keys: &[i64]) -> f64 {
    100.0 * hits as f64 / keys.len() as f64
}
