//! Rounds with alternating sides, and their medians.

use cache_sync_kit::statistics::median;
use cache_sync_kit::{Result, Values};
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

const COUNT_MAX: usize = 1000;
const SECONDS_MAX: f64 = 3600.0;

/// How long to measure.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) seconds: f64,
}

impl Rounds {
    pub(crate) fn parse(values: &Values) -> Result<Rounds> {
        let rounds = Rounds { count: values.or("--rounds", 5)?, seconds: values.or("--seconds", 3.0)? };
        if !(1..=COUNT_MAX).contains(&rounds.count) {
            return Err(format!("--rounds is {}; it must be from 1 to {COUNT_MAX}", rounds.count).into());
        }
        if !(rounds.seconds > 0.0 && rounds.seconds <= SECONDS_MAX) {
            return Err(
                format!("--seconds is {}; it must be above 0, and {SECONDS_MAX} at most", rounds.seconds).into()
            );
        }
        Ok(rounds)
    }

    pub(crate) fn time(self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Runs both sides in every round, in changing order.
    pub(crate) async fn alternate(
        self,
        mut ours: impl AsyncFnMut() -> Result<f64>,
        mut theirs: impl AsyncFnMut() -> Result<f64>,
    ) -> Result<Sides> {
        let mut sides = Sides::default();
        for round in 0..self.count {
            if round % 2 == 0 {
                let result = ours().await?;
                sides.add(result, theirs().await?);
            } else {
                let result = theirs().await?;
                sides.add(ours().await?, result);
            }
        }
        Ok(sides)
    }
}

/// What two sides brought, round by round.
#[derive(Default)]
pub(crate) struct Sides {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Sides {
    /// Adds what a round brought.
    pub(crate) fn add(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }

    /// The median of each side.
    pub(crate) fn medians(&self) -> (f64, f64) {
        (median(self.ours.clone()), median(self.theirs.clone()))
    }

    /// The median of the rounds' ratios: what a round had to do with hits both of its sides.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.ratios().collect())
    }

    /// The smallest and the largest of the rounds' ratios.
    pub(crate) fn interval(&self) -> (f64, f64) {
        self.ratios().fold((f64::INFINITY, 0.0), |(low, high), ratio| (ratio.min(low), ratio.max(high)))
    }

    fn ratios(&self) -> impl Iterator<Item = f64> {
        self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs)
    }
}

/// Calls `step` again and again for `time` and returns the nanoseconds that one operation took of this thread's time on a
/// processor; `step` says how many it did. Time in which other threads had the processor does not count: what they do
/// for us is measured elsewhere.
pub(crate) fn nanos_per_operation(time: Duration, mut step: impl FnMut() -> usize) -> f64 {
    let (start, cpu_start) = (Instant::now(), thread_nanos());
    let mut operations = 0;
    while start.elapsed() < time {
        operations += step();
    }
    (thread_nanos() - cpu_start) / operations as f64
}

/// Nanoseconds that this thread has had a processor so far.
pub(crate) fn thread_nanos() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

#[cfg(test)]
mod tests {
    use super::Sides;

    #[test]
    fn the_ratio_is_the_median_of_the_rounds() {
        let mut sides = Sides::default();
        for (ours, theirs) in [(8.0, 10.0), (3.0, 2.0), (20.0, 11.0)] {
            sides.add(ours, theirs);
        }
        assert_eq!((sides.medians(), sides.ratio(), sides.interval()), ((8.0, 10.0), 1.5, (0.8, 20.0 / 11.0)));
    }
}
