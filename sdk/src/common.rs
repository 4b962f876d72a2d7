//! What a client shares with all its tables.

use crate::error::{Error, Kind};
use crate::freshness::Freshness;
use crate::room::Room;
use cache_sync_core::hlc::ClientClock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Whether the client is open and all its tasks work.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::closed());
        }
        self.check_alive()
    }

    /// Whether all tasks of the client work.
    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        if self.broken.load(Ordering::Acquire) {
            return Err(Error::new(Kind::Closed, "a task of this client has died; make a new client"));
        }
        Ok(())
    }

    /// A monotonic clock in microseconds, for the client's hybrid logical clock.
    pub(crate) fn monotonic_micros(&self) -> i64 {
        self.monotonic_micros_at(Instant::now())
    }

    /// The same, for who knows the time already.
    pub(crate) fn monotonic_micros_at(&self, now: Instant) -> i64 {
        i64::try_from(now.duration_since(self.started).as_micros()).unwrap_or(i64::MAX)
    }
}
