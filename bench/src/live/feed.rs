//! What watchers cost the feed: how many changes of other rows a client hears in a second, with ten thousand watchers and with none.

use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use cache_sync::{Cache, Client};
use cache_sync_kit::{Result, connect};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const KEYS: i64 = 1000;
const WATCHERS_OF_EACH: usize = 10;
const ROWS: i64 = 20_000;
/// So many rows in a transaction: more of them would be told as a change of the whole table.
const ROWS_AT_A_TIME: i64 = 500;

#[derive(Clone, Serialize, Deserialize)]
struct Row {
    n: i32,
}

pub(super) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    connect(dsn)
        .await?
        .batch_execute(&format!(
            "CREATE TABLE watched (id bigint PRIMARY KEY, n int NOT NULL) WITH (fillfactor = 50);
             INSERT INTO watched SELECT i, 0 FROM generate_series(0, {ROWS} - 1) i; SELECT cache_sync.attach('watched')"
        ))
        .await?;
    let with = async || heard(dsn, rounds.time(), WATCHERS_OF_EACH).await;
    let without = async || heard(dsn, rounds.time(), 0).await;
    let sides = rounds.alternate(with, without).await?;
    let row = "changes heard beside 10,000 watchers of 1,000 other keys / beside none";
    report.rounds(Figure::new("live", row, "1/s", Target::AtLeast(0.95)), &sides);
    Ok(())
}

/// How many changes a client hears in a second with so many watchers of each key that is watched.
async fn heard(dsn: &str, time: Duration, watchers: usize) -> Result<f64> {
    let client = Client::connect(dsn).await?;
    let cache: Cache<i64, Row> = client.cache("watched").open().await?;
    let (mut watching, shown) = (JoinSet::new(), Arc::new(Semaphore::new(0)));
    for key in (0..KEYS).flat_map(|key| std::iter::repeat_n(key, watchers)) {
        let (mut rows, shown) = (cache.watch(&key), shown.clone());
        watching.spawn(async move {
            while rows.next().await.is_some() {
                shown.add_permits(1);
            }
        });
    }
    let all = u32::try_from(KEYS as usize * watchers)?;
    shown.acquire_many(all).await?.forget();
    let sql = connect(dsn).await?;
    let update = sql.prepare("UPDATE watched SET n = n + 1 WHERE id >= $1 AND id < $1 + $2").await?;
    let (start, mut changes) = (Instant::now(), 0);
    while start.elapsed() < time {
        let first = KEYS + changes % (ROWS - KEYS - ROWS_AT_A_TIME);
        changes += sql.execute(&update, &[&first, &ROWS_AT_A_TIME]).await? as i64;
    }
    client.catch_up().await?;
    let rate = changes as f64 / start.elapsed().as_secs_f64();
    if cache.status().changes < changes as u64 || shown.available_permits() > 0 {
        return Err("the changes were not told one by one, or of watched rows".into());
    }
    client.close(Duration::from_secs(10)).await?;
    while watching.join_next().await.is_some() {}
    Ok(rate)
}
