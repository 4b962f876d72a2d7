//! Rounds with alternating sides, and their medians.

use crate::Result;
use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) seconds: f64,
}

impl Rounds {
    pub(crate) fn time(self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Runs both sides in every round, in changing order, and returns the median of each.
    pub(crate) async fn alternate(
        self,
        mut ours: impl AsyncFnMut() -> Result<f64>,
        mut theirs: impl AsyncFnMut() -> Result<f64>,
    ) -> Result<(f64, f64)> {
        let (mut our_results, mut their_results) = (Vec::new(), Vec::new());
        for round in 0..self.count {
            if round % 2 == 0 {
                our_results.push(ours().await?);
                their_results.push(theirs().await?);
            } else {
                their_results.push(theirs().await?);
                our_results.push(ours().await?);
            }
        }
        Ok((median(our_results), median(their_results)))
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Calls `step` again and again for `time` and returns the nanoseconds that one operation took; `step` says how many it
/// did.
pub(crate) fn nanos_per_operation(time: Duration, mut step: impl FnMut() -> usize) -> f64 {
    let start = Instant::now();
    let mut operations = 0;
    while start.elapsed() < time {
        operations += step();
    }
    start.elapsed().as_nanos() as f64 / operations as f64
}

/// A quick generator of keys, the same in every run.
pub(crate) struct Keys(u64);

impl Keys {
    pub(crate) fn new(seed: u64) -> Keys {
        Keys(seed.max(1))
    }

    /// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled".
    pub(crate) fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % below
    }
}
