//! When something began; and which look-ups are measured.

use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// About one in so many look-ups of a thread is measured.
const SAMPLED_ONE_IN: u32 = 1024;

thread_local! {
    /// How many look-ups of this thread go by before the next one is measured. Nothing of it is shared between threads.
    static LEFT: Cell<u32> = const { Cell::new(0) };
    /// What the distances are made of: they differ, so that they fall in step with no pattern of reads.
    static DICE: Cell<u32> = const { Cell::new(0x9E37_79B9) };
}

/// When something began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer(Instant);

impl Timer {
    pub(crate) fn start() -> Timer {
        Timer(Instant::now())
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

impl Default for Timer {
    fn default() -> Timer {
        Timer::start()
    }
}

/// When a look-up began, if it is one that is measured.
#[inline]
pub(super) fn sampled() -> Option<Timer> {
    LEFT.with(|left| match left.get() {
        0 => Some(measured(left)),
        more => {
            left.set(more - 1);
            None
        }
    })
}

#[cold]
fn measured(left: &Cell<u32>) -> Timer {
    let thrown = DICE.with(|dice| {
        let mut number = dice.get();
        number ^= number << 13;
        number ^= number >> 17;
        number ^= number << 5;
        dice.replace(number)
    });
    left.set(SAMPLED_ONE_IN / 2 + thrown % SAMPLED_ONE_IN);
    Timer::start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_one_look_up_in_a_thousand_is_measured_and_the_first_one_is() {
        let looks = 0..1024 * SAMPLED_ONE_IN;
        let measured: Vec<_> = looks.filter(|_| sampled().is_some()).collect();
        assert!((900..1150).contains(&measured.len()), "{}", measured.len());
        assert_eq!(measured[0], 0);
        let distances: std::collections::BTreeSet<_> = measured.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(distances.len() > 300, "{}", distances.len());
    }
}
