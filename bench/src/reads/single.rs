//! One miss after the other on a client that does nothing else, against one prepared SELECT after the other; and against the statement that a
//! miss sends, which brings along what a load has to know beside the row.

use super::{HELD, Item, ROWS, SELECT};
use crate::measure::{Rounds, Sides};
use crate::report::{Figure, Report, Target};
use cache_sync::Cache;
use cache_sync_kit::statistics::quantile;
use cache_sync_kit::{Result, connect};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// A side's turn: short, so that what the machine does meanwhile hits both sides.
const TURN: Duration = Duration::from_millis(100);

pub(super) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let (client, cache) = super::open(dsn, HELD).await?;
    // As in an application, where it is tasks that read.
    let [miss, statement, share] = tokio::spawn(measure(cache, connect(dsn).await?, rounds)).await??;
    let mut add = |row: &str, sides: &Quantiles, slowest| {
        report.rounds(Figure::new("reads", format!("{row}, p50"), "us", Target::None), &sides.medians);
        report.rounds(Figure::new("reads", format!("{row}, p99"), "us", slowest), &sides.slowest);
    };
    add("a miss / a prepared SELECT", &miss, Target::AtMost(1.3));
    add("the statement of a miss / a prepared SELECT", &statement, Target::None);
    add("a miss / its statement", &share, Target::None);
    super::close(client).await
}

/// Medians and slowest of two sides, in microseconds.
#[derive(Default)]
struct Quantiles {
    medians: Sides,
    slowest: Sides,
}

impl Quantiles {
    fn add(&mut self, ours: &[f64], theirs: &[f64]) {
        for (sides, share) in [(&mut self.medians, 0.5), (&mut self.slowest, 0.99)] {
            sides.add(quantile(ours, share), quantile(theirs, share));
        }
    }
}

/// A miss against a SELECT, its statement against a SELECT, and a miss against its statement.
async fn measure(cache: Cache<i64, Item>, by_hand: tokio_postgres::Client, rounds: Rounds) -> Result<[Quantiles; 3]> {
    let select = by_hand.prepare(SELECT).await?;
    cache.get(&0).await?.ok_or("a row is missing")?;
    let sent = "SELECT query FROM pg_stat_activity WHERE query LIKE '%load_state%' AND pid <> pg_backend_pid() \
                ORDER BY query_start DESC LIMIT 1";
    let load: String = by_hand.query_one(sent, &[]).await?.try_get(0)?;
    let load = by_hand.prepare(&load).await?;
    let table: i32 = by_hand.query_one("SELECT table_id FROM cache_sync.tables", &[]).await?.try_get(0)?;
    let mut keys = (0..ROWS).cycle();
    let mut all: [Quantiles; 3] = Default::default();
    for _ in 0..rounds.count {
        let mut micros: [Vec<f64>; 3] = Default::default();
        let end = Instant::now() + 3 * rounds.time();
        while Instant::now() < end {
            for (side, micros) in micros.iter_mut().enumerate() {
                let turn = Instant::now();
                while turn.elapsed() < TURN {
                    let (key, start) = (keys.next().unwrap_or_default(), Instant::now());
                    match side {
                        0 => drop(black_box(cache.get(&key).await?.ok_or("a row is missing")?)),
                        1 => drop(black_box(by_hand.query(&load, &[&uuid::Uuid::nil(), &table, &vec![key]]).await?)),
                        _ => drop(black_box(Item::read(&by_hand.query_one(&select, &[&key]).await?)?)),
                    }
                    micros.push(start.elapsed().as_secs_f64() * 1e6);
                }
            }
        }
        micros.iter_mut().for_each(|micros| micros.sort_by(f64::total_cmp));
        let [miss, statement, select] = &micros;
        for (quantiles, (ours, theirs)) in all.iter_mut().zip([(miss, select), (statement, select), (miss, statement)])
        {
            quantiles.add(ours, theirs);
        }
    }
    Ok(all)
}
