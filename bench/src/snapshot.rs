//! Misses and batches after ten minutes of batches while somebody holds a snapshot (a dump, a forgotten transaction), against the same
//! without.

use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use cache_sync::{Cache, Client, Patch};
use cache_sync_cluster::Cluster;
use cache_sync_kit::{Result, connect};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// As many as a busy client sends in ten minutes, one each flush interval.
const BATCHES: i64 = 120_000;
/// Rows that are written, in turn: it is the session's row that has a version for each batch.
const WRITTEN: i64 = 20_000;
/// Rows that are read, in turn, of which so few are held that each is gone when its turn comes again.
const READ: i64 = 20_000;
const HELD: u64 = 1000;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counter {
    count: i64,
}

/// A client that has sent its batches.
struct Side {
    client: Client,
    cache: Cache<i64, Counter>,
}

impl Side {
    /// `holder` holds a snapshot from before the first batch on.
    async fn new(cluster: &Cluster, database: &str, holder: Option<&tokio_postgres::Client>) -> Result<Side> {
        let dsn = cluster.dsn(database);
        connect(&dsn)
            .await?
            .batch_execute(&format!(
                "CREATE TABLE counter (id bigint PRIMARY KEY, count bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
                 SELECT cache_sync.attach('counter', rules => '{{\"count\": \"add\"}}');
                 INSERT INTO counter SELECT generate_series(1, {}); ANALYZE counter",
                WRITTEN + READ
            ))
            .await?;
        if let Some(holder) = holder {
            holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM counter LIMIT 1").await?;
        }
        let client = Client::builder(&dsn).flush_interval(Duration::ZERO).connect().await?;
        let cache = client.cache("counter").max_capacity(HELD).open().await?;
        let side = Side { client, cache };
        for batch in 0..BATCHES {
            side.write(batch).await?;
        }
        Ok(side)
    }

    async fn write(&self, batch: i64) -> Result<()> {
        let receipt = self.cache.patch(&(1 + batch % WRITTEN), Patch::new().add("count", 1)).await?;
        receipt.written().await?;
        Ok(())
    }

    /// Microseconds of a miss.
    async fn miss(&self, time: Duration) -> Result<f64> {
        let (start, mut misses) = (Instant::now(), 0);
        while start.elapsed() < time {
            self.cache.get(&(WRITTEN + 1 + misses % READ)).await?.ok_or("a row is missing")?;
            misses += 1;
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / misses as f64)
    }

    /// Microseconds of a batch.
    async fn batch(&self, time: Duration) -> Result<f64> {
        let (start, mut batches) = (Instant::now(), 0);
        while start.elapsed() < time {
            self.write(batches).await?;
            batches += 1;
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / batches as f64)
    }
}

pub(crate) async fn run(cluster: &Cluster, database: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let other = format!("{database}_free");
    cluster.createdb(&other)?;
    cluster.psql(&other, "CREATE EXTENSION cache_sync")?;
    let dump = connect(&cluster.dsn(database)).await?;
    let (held, free) = tokio::try_join!(Side::new(cluster, database, Some(&dump)), Side::new(cluster, &other, None))?;
    let time = rounds.time();
    let misses = rounds.alternate(async || held.miss(time).await, async || free.miss(time).await).await?;
    let batches = rounds.alternate(async || held.batch(time).await, async || free.batch(time).await).await?;
    for (what, sides) in [("miss", misses), ("batch", batches)] {
        let row = format!("a {what} after {BATCHES} batches under a held snapshot / without one");
        report.rounds(Figure::new("snapshot", row, "us", Target::AtMost(1.5)), &sides);
    }
    for side in [held, free] {
        side.client.close(Duration::from_secs(10)).await?;
    }
    Ok(())
}
