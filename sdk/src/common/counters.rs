//! What is counted now and then. Hits are counted where they are found.

use std::sync::atomic::{AtomicU64, Ordering};

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
    pub(crate) misses: Counter,
    pub(crate) load_statements: Counter,
    pub(crate) loaded_keys: Counter,
    pub(crate) changes: Counter,
    pub(crate) writes: Counter,
    pub(crate) batches: Counter,
    pub(crate) patches: Counter,
    pub(crate) flush_retries: Counter,
    pub(crate) stale_served: Counter,
    pub(crate) replaced_served: Counter,
    pub(crate) rejected: Counter,
    pub(crate) unknown: Counter,
    pub(crate) verified_equal: Counter,
    pub(crate) verified_behind: Counter,
    pub(crate) unverified: Counter,
    pub(crate) violations: Counter,
    pub(crate) retreats: Counter,
}
