//! Which hits are compared with Postgres: a share of them, by chance.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

thread_local! {
    /// What the numbers of this thread are made of; never 0.
    static DICE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish() | 1);
}

/// A share of all hits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample(u64);

impl Sample {
    /// None: no hit is of it.
    pub(super) fn of(share: f64) -> Option<Sample> {
        // What is more than the largest number becomes that.
        (share > 0.0).then_some(Sample((share * 2_f64.powi(64)) as u64))
    }

    /// Whether a hit is of it. Nothing of that is shared between threads.
    #[inline]
    pub(super) fn takes(self) -> bool {
        let thrown = DICE.with(|dice| {
            let mut number = dice.get();
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            dice.set(number);
            number
        });
        thrown <= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_its_share() {
        assert!(Sample::of(0.0).is_none());
        let taken = |share: f64| (0..100_000).filter(|_| Sample::of(share).unwrap().takes()).count();
        assert_eq!(taken(1.0), 100_000);
        assert!((9_000..11_000).contains(&taken(0.1)) && (20..300).contains(&taken(0.001)));
    }
}
