//! The hits: counted, and told to moka as far as it has to know them. Writes of what is held are told alike.
//!
//! What moka does for a read costs several times a hit. While all that is asked for is held, the first hits of an entry and one of
//! 256 are enough to know what is asked for most. While keys miss they are not: what moka decides then decides what misses
//! next. So each miss has some more hits told. Where many miss, all are; where few do, a load costs more than these.

use std::sync::atomic::{AtomicU64, Ordering};

/// Each of the first threads has a stripe of its own. The others share as many: those with the same remainder one.
const STRIPES: usize = 32;
/// Of so many hits one is told, at hand of the upper bits of a number.
const TOLD_SHIFT: u32 = u64::BITS - 8;
/// So many hits are told after a miss.
const TOLD_AFTER_MISS: u64 = 16;
/// So many misses in a row have theirs told later.
const MISSES_AHEAD_MAX: u64 = 1000;

/// A cache line and its neighbour, which processors fetch with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    hits: AtomicU64,
    /// Writes of what is held, which count like reads.
    writes: AtomicU64,
    /// Up to this one, of hits and writes, all are told.
    told_until: AtomicU64,
}

/// Striped by thread, so that those who read at the same time share nothing.
#[derive(Debug)]
pub(super) struct Hits([Stripe; 2 * STRIPES]);

impl Default for Hits {
    fn default() -> Hits {
        Hits(std::array::from_fn(|_| Stripe::default()))
    }
}

impl Hits {
    /// Counts a hit of the thread with this number, which no other thread has at the same time. Returns whether moka has to hear of it.
    #[inline]
    pub(super) fn count(&self, thread: usize) -> bool {
        let stripe = self.stripe(thread);
        let hits = Self::raise(&stripe.hits, thread);
        stripe.is_told(hits + stripe.writes.load(Ordering::Relaxed))
    }

    /// The same of a write of what is held, which is no hit.
    pub(super) fn written(&self, thread: usize) -> bool {
        let stripe = self.stripe(thread);
        let writes = Self::raise(&stripe.writes, thread);
        stripe.is_told(writes + stripe.hits.load(Ordering::Relaxed))
    }

    /// Returns what it was.
    #[inline]
    fn raise(counter: &AtomicU64, thread: usize) -> u64 {
        if thread < STRIPES {
            // Nobody else writes it, and what is added in one step holds up whatever else the processor has begun.
            let before = counter.load(Ordering::Relaxed);
            counter.store(before + 1, Ordering::Relaxed);
            before
        } else {
            counter.fetch_add(1, Ordering::Relaxed)
        }
    }

    pub(super) fn missed(&self, thread: usize) {
        let Stripe { hits, writes, told_until } = self.stripe(thread);
        let at = hits.load(Ordering::Relaxed) + writes.load(Ordering::Relaxed);
        let until = told_until.load(Ordering::Relaxed).max(at) + TOLD_AFTER_MISS;
        // A miss that another thread forgets is one of many.
        told_until.store(until.min(at + MISSES_AHEAD_MAX * TOLD_AFTER_MISS), Ordering::Relaxed);
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.hits.load(Ordering::Relaxed)).sum()
    }

    #[inline]
    fn stripe(&self, thread: usize) -> &Stripe {
        &self.0[if thread < STRIPES { thread } else { STRIPES + thread % STRIPES }]
    }
}

impl Stripe {
    /// By the golden ratio, which falls in step with no pattern of reads.
    #[inline]
    fn is_told(&self, at: u64) -> bool {
        at < self.told_until.load(Ordering::Relaxed) || at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> TOLD_SHIFT == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever has no stripe of its own must not undo what others count at the same time.
    #[test]
    fn no_hit_of_any_thread_is_lost() {
        const EACH: u64 = 100_000;
        let hits = Hits::default();
        std::thread::scope(|scope| {
            for thread in [0, STRIPES - 1, STRIPES, 2 * STRIPES, 3 * STRIPES] {
                scope.spawn({
                    let hits = &hits;
                    move || (0..EACH).for_each(|_| _ = hits.count(thread))
                });
            }
        });
        assert_eq!(hits.sum(), 5 * EACH);
    }

    /// Else those who only write would have moka told of each write, or of none.
    #[test]
    fn a_write_counts_like_a_hit_but_is_none() {
        let hits = Hits::default();
        let told = || (0..6400).filter(|_| hits.written(5)).count();
        assert!((20..30).contains(&told()));
        hits.missed(5);
        assert!((20 + TOLD_AFTER_MISS as usize..30 + TOLD_AFTER_MISS as usize).contains(&told()));
        assert_eq!(hits.sum(), 0);
    }

    #[test]
    fn few_hits_are_told_but_all_of_them_after_a_miss() {
        let hits = Hits::default();
        let told = |count: usize| (0..count).filter(|_| hits.count(5)).count();
        assert!((20..30).contains(&told(6400)));
        (0..10).for_each(|_| hits.missed(5));
        let after = 10 * TOLD_AFTER_MISS as usize;
        assert_eq!(told(after), after);
        assert!(told(6400) < 30);
        (0..10_000).for_each(|_| hits.missed(5));
        assert!(told(100_000) < 20_000, "misses of long ago are forgotten");
        assert_eq!(hits.sum(), 6400 + after as u64 + 6400 + 100_000);
    }
}
