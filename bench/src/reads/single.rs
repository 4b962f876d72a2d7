//! One miss after the other on a client that does nothing else, against one prepared SELECT after the other.

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
    let (medians, slowest) = tokio::spawn(measure(cache, connect(dsn).await?, rounds)).await??;
    report.rounds(Figure::new("reads", "a miss / a prepared SELECT, p50", "us", Target::None), &medians);
    report.rounds(Figure::new("reads", "a miss / a prepared SELECT, p99", "us", Target::AtMost(1.3)), &slowest);
    super::close(client).await
}

/// Medians and slowest of both sides, in microseconds.
async fn measure(cache: Cache<i64, Item>, by_hand: tokio_postgres::Client, rounds: Rounds) -> Result<(Sides, Sides)> {
    let statement = by_hand.prepare(SELECT).await?;
    let mut keys = (0..ROWS).cycle();
    let (mut medians, mut slowest) = (Sides::default(), Sides::default());
    for _ in 0..rounds.count {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let end = Instant::now() + 2 * rounds.time();
        while Instant::now() < end {
            let turn = Instant::now();
            while turn.elapsed() < TURN {
                let (key, start) = (keys.next().unwrap_or_default(), Instant::now());
                black_box(cache.get(&key).await?.ok_or("a row is missing")?);
                ours.push(start.elapsed().as_secs_f64() * 1e6);
            }
            let turn = Instant::now();
            while turn.elapsed() < TURN {
                let (key, start) = (keys.next().unwrap_or_default(), Instant::now());
                black_box(Item::read(&by_hand.query_one(&statement, &[&key]).await?)?);
                theirs.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        for micros in [&mut ours, &mut theirs] {
            micros.sort_by(f64::total_cmp);
        }
        for (sides, share) in [(&mut medians, 0.5), (&mut slowest, 0.99)] {
            sides.add(quantile(&ours, share), quantile(&theirs, share));
        }
    }
    Ok((medians, slowest))
}
