//! What came of a turn.

use super::confirmed::Age;
use super::outside::Written;
use cache_sync_kit::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A turn that is so many times as long as a bound can show reads beyond it.
const BOUNDS_PER_TURN_MIN: f64 = 3.0;

/// Whether reads that are staler than a bound can be seen in turns of so many seconds.
pub(super) fn can_see_beyond(bound_ms: f64, seconds: f64) -> bool {
    seconds * 1e3 >= BOUNDS_PER_TURN_MIN * bound_ms
}

/// What a worker has seen.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) reads: Histogram,
    pub(super) writes: Histogram,
    stale: u64,
    beyond: u64,
    oldest: Duration,
}

impl Tally {
    /// A read missed what had been there so long before.
    pub(super) fn stale(&mut self, age: Age, bound: Option<Duration>) {
        self.stale += 1;
        self.beyond += u64::from(bound.is_some_and(|bound| age.since_committed > bound));
        self.oldest = self.oldest.max(age.since_confirmed);
    }

    pub(super) fn merge(&mut self, other: &Tally) {
        self.reads.merge(&other.reads);
        self.writes.merge(&other.writes);
        self.stale += other.stale;
        self.beyond += other.beyond;
        self.oldest = self.oldest.max(other.oldest);
    }

    pub(super) fn turn(&self, seconds: f64, outside: Written) -> Turn {
        let quantiles = |of: &Histogram| [of.quantile_us(0.5), of.quantile_us(0.99)];
        Turn {
            reads: self.reads.count(),
            writes: self.writes.count(),
            outside: outside.writes,
            outside_cpu_seconds: outside.cpu_seconds,
            seconds,
            read_us: quantiles(&self.reads),
            write_us: quantiles(&self.writes),
            stale: self.stale,
            beyond: self.beyond,
            oldest_ms: self.oldest.as_secs_f64() * 1e3,
        }
    }
}

/// What came of a turn of both nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Turn {
    pub(super) reads: u64,
    pub(super) writes: u64,
    /// Writes of the other program.
    pub(super) outside: u64,
    pub(super) outside_cpu_seconds: f64,
    /// Until all was in Postgres.
    pub(super) seconds: f64,
    /// Median, and the 99th of a hundred.
    pub(super) read_us: [Option<f64>; 2],
    pub(super) write_us: [Option<f64>; 2],
    /// Reads that missed what had been confirmed before they began.
    pub(super) stale: u64,
    /// Those that missed what had been committed longer before than the peer states.
    pub(super) beyond: u64,
    pub(super) oldest_ms: f64,
}

impl Turn {
    /// Reads and writes, those of a read-modify-write apart.
    pub(super) fn operations(&self) -> f64 {
        (self.reads + self.writes) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::can_see_beyond;

    #[test]
    fn a_turn_that_is_not_longer_than_the_bound_shows_nothing_beyond_it() {
        assert!(can_see_beyond(0.0, 0.1) && can_see_beyond(500.0, 1.5));
        assert!(!can_see_beyond(500.0, 1.4) && !can_see_beyond(300_000.0, 3.0));
    }
}
