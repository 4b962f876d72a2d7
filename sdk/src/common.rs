//! What a client shares with all its tables.

use crate::freshness::Freshness;
use crate::room::Room;
use cache_sync_core::hlc::ClientClock;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// What a client shares with all its tables.
pub(crate) struct Common {
    pub(crate) freshness: Freshness,
    pub(crate) room: Room,
    pub(crate) clock: Mutex<ClientClock>,
    pub(crate) started: Instant,
    pub(crate) closed: AtomicBool,
    /// A task of the client has died.
    pub(crate) broken: AtomicBool,
    pub(crate) stale_while_unavailable: Duration,
    pub(crate) batch_entries_max: usize,
}

impl Common {
    /// A monotonic clock in microseconds, for the client's hybrid logical clock.
    pub(crate) fn monotonic_micros(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}
