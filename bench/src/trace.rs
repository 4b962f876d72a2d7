//! Which keys are read one after another.

use cache_sync_kit::Dice;

/// Numbers of which the first are drawn most. After Gray et al., "Quickly generating billion-record synthetic databases", as YCSB draws.
pub(crate) struct Zipf {
    size: f64,
    theta: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    /// Numbers below `size`, the n-th of them drawn in proportion to `1 / n^theta`.
    pub(crate) fn new(size: u64, theta: f64) -> Zipf {
        let zeta = |count: u64| (1..=count).map(|number| (number as f64).powf(-theta)).sum::<f64>();
        let (all, size) = (zeta(size), size as f64);
        let eta = (1.0 - (2.0 / size).powf(1.0 - theta)) / (1.0 - zeta(2) / all);
        Zipf { size, theta, zeta: all, eta }
    }

    pub(crate) fn draw(&self, dice: &mut Dice) -> u64 {
        let fraction = dice.fraction();
        let share = fraction * self.zeta;
        if share < 1.0 {
            return 0;
        }
        if share < 1.0 + 0.5f64.powf(self.theta) {
            return 1;
        }
        (self.size * (self.eta * fraction - self.eta + 1.0).powf(1.0 / (1.0 - self.theta))) as u64
    }
}

/// Reads that a cache meets.
#[derive(Clone, Copy)]
pub(crate) enum Trace {
    /// Some keys are read much more than others.
    Zipf,
    /// The same, but from time to time somebody reads many keys once.
    Scans,
    /// Somebody reads the same keys in the same order, a few more than are held.
    Loop,
    /// Some keys are read much more than others, and from time to time others come to be.
    Moving,
}

impl Trace {
    pub(crate) const ALL: [Trace; 4] = [Trace::Zipf, Trace::Scans, Trace::Loop, Trace::Moving];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Trace::Zipf => "Zipf 0.99",
            Trace::Scans => "Zipf 0.99 with scans",
            Trace::Loop => "loop",
            Trace::Moving => "Zipf 0.99 that moves on",
        }
    }

    /// So many reads, of at most twenty times as many keys as are held.
    pub(crate) fn draw(self, held: u64, reads: usize) -> Vec<i64> {
        let mut dice = Dice::new(7);
        let (zipf, narrow) = (Zipf::new(10 * held, 0.99), Zipf::new(4 * held, 0.99));
        let (between, scan) = (5 * held, 2 * held);
        let next = |at: u64| match self {
            Trace::Zipf => zipf.draw(&mut dice),
            Trace::Scans if at % (between + scan) < between => zipf.draw(&mut dice),
            Trace::Scans => 10 * held + at % (10 * held),
            Trace::Loop => at % (held * 3 / 2),
            Trace::Moving => at * 5 / reads as u64 * 4 * held + narrow.draw(&mut dice),
        };
        (0..reads as u64).map(next).map(|key| key as i64).collect()
    }
}
