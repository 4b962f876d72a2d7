//! The client's clock: the time since it started, and the hybrid logical clock that stamps its writes.

use super::lock::lock;
use cache_sync_core::hlc::ClientClock;
use cache_sync_core::number::{Stamp, Version};
use std::sync::Mutex;
use std::time::Instant;

/// The time, as the feed and every write of a client take it.
#[derive(Debug)]
pub(crate) struct Clock {
    /// When the client started; times that are kept small count from here.
    pub(crate) started: Instant,
    hlc: Mutex<ClientClock>,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { started: Instant::now(), hlc: Mutex::new(ClientClock::default()) }
    }

    /// Takes over what the server's clock says now.
    pub(crate) fn hear(&self, hlc: Stamp) {
        lock(&self.hlc).hear(hlc, self.micros_at(Instant::now()));
    }

    /// Where the server's clock is about now.
    pub(crate) fn hlc(&self) -> Stamp {
        lock(&self.hlc).now(self.micros_at(Instant::now()))
    }

    /// The stamp of a write that was made at `now` over a row of this version.
    pub(crate) fn stamp(&self, seen: Version, now: Instant) -> Stamp {
        lock(&self.hlc).stamp(seen.0, self.micros_at(now))
    }

    fn micros_at(&self, now: Instant) -> i64 {
        i64::try_from(now.duration_since(self.started).as_micros()).unwrap_or(i64::MAX)
    }
}
