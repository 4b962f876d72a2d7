//! One miss after the other on a client that does nothing else, against one prepared SELECT after the other.

use super::{HELD, Item, ROWS, SELECT};
use crate::measure::{Rounds, Sides};
use crate::report::{Figure, Report, Target};
use cache_sync_kit::statistics::quantile;
use cache_sync_kit::{Result, connect};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// A side's turn: short, so that what the machine does meanwhile hits both sides.
const TURN: Duration = Duration::from_millis(100);

pub(super) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let (client, cache) = super::open(dsn, HELD).await?;
    let by_hand = connect(dsn).await?;
    let statement = by_hand.prepare(SELECT).await?;
    let (mut our_keys, mut their_keys) = ((0..ROWS).cycle(), (0..ROWS).cycle());
    let mut ours = async || {
        let key = our_keys.next().unwrap_or_default();
        black_box(cache.get(&key).await?.ok_or("a row is missing")?);
        Ok(())
    };
    let mut theirs = async || {
        let key = their_keys.next().unwrap_or_default();
        black_box(Item::read(&by_hand.query_one(&statement, &[&key]).await?)?);
        Ok(())
    };
    let (mut medians, mut slowest) = (Sides::default(), Sides::default());
    for _ in 0..rounds.count {
        let (mut our_micros, mut their_micros) = (Vec::new(), Vec::new());
        let start = Instant::now();
        while start.elapsed() < 2 * rounds.time() {
            measure(&mut our_micros, &mut ours).await?;
            measure(&mut their_micros, &mut theirs).await?;
        }
        for (sides, share) in [(&mut medians, 0.5), (&mut slowest, 0.99)] {
            sides.add(quantile(&sorted(&our_micros), share), quantile(&sorted(&their_micros), share));
        }
    }
    report.rounds(Figure::new("reads", "a miss / a prepared SELECT, p50", "us", Target::None), &medians);
    report.rounds(Figure::new("reads", "a miss / a prepared SELECT, p99", "us", Target::AtMost(1.3)), &slowest);
    super::close(client).await
}

/// Adds the microseconds of each call in a turn.
async fn measure(micros: &mut Vec<f64>, call: &mut impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + TURN;
    let mut now = Instant::now();
    while now < end {
        call().await?;
        let then = now;
        now = Instant::now();
        micros.push((now - then).as_secs_f64() * 1e6);
    }
    Ok(())
}

fn sorted(micros: &[f64]) -> Vec<f64> {
    let mut sorted = micros.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
