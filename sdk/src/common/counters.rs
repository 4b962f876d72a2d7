//! What is counted, striped so that hits of many threads do not share a cache line.

use std::sync::atomic::{AtomicU64, Ordering};

const STRIPES: usize = 16;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

/// A counter that many threads raise all the time.
#[derive(Debug, Default)]
pub(crate) struct Striped([Stripe; STRIPES]);

impl Striped {
    /// Adds one; `spread` chooses the stripe.
    #[inline]
    pub(crate) fn add_one(&self, spread: u64) {
        self.0[spread as usize % STRIPES].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

/// A counter that is raised now and then.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one cache.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: Striped,
    pub(crate) misses: Counter,
    pub(crate) load_statements: Counter,
    pub(crate) loaded_keys: Counter,
    pub(crate) changes: Counter,
    pub(crate) writes: Counter,
    pub(crate) batches: Counter,
    pub(crate) patches: Counter,
    pub(crate) flush_retries: Counter,
    pub(crate) stale_served: Counter,
    pub(crate) rejected: Counter,
    pub(crate) unknown: Counter,
}
