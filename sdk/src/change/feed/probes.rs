//! The small questions by which a feed that hears by NOTIFY knows that it still does.

use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Notify, watch};

/// The probes of a feed, numbered.
#[derive(Debug, Default)]
pub(super) struct Probes {
    begun: AtomicU64,
    pub(super) answered: watch::Sender<u64>,
    pub(super) wanted: Notify,
}

impl Probes {
    /// The last one that was answered.
    pub(super) fn last(&self) -> u64 {
        *self.answered.borrow()
    }

    /// The last one that was begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Begins the next one, and says its number.
    pub(super) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }
}
