//! Whether what is held may be served: is the feed heard, and has nothing happened since that makes all entries
//! doubtful.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shared by the feed, which writes it, and every read.
#[derive(Debug)]
pub(crate) struct Freshness {
    start: Instant,
    /// Nanoseconds after `start` until which the feed counts as heard; 0 while it does not.
    live_until: AtomicU64,
    /// Nanoseconds after `start` at which everything held was last known to be in step.
    in_step_at: AtomicU64,
    /// The feed's epoch; 0 before the first message.
    epoch: AtomicU64,
    timeout: Duration,
}

impl Freshness {
    pub(crate) fn new(timeout: Duration) -> Freshness {
        Freshness {
            start: Instant::now(),
            live_until: AtomicU64::new(0),
            in_step_at: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            timeout,
        }
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The feed was heard just now, and everything up to what it said has been processed.
    pub(crate) fn heard(&self) {
        let now = self.nanos();
        self.in_step_at.store(now, Ordering::Release);
        self.live_until.store(now + self.timeout.as_nanos() as u64, Ordering::Release);
    }

    /// The feed is lost.
    pub(crate) fn lost(&self) {
        self.live_until.store(0, Ordering::Release);
    }

    /// Whether entries may be served without asking. Compares with the clock, so that a process that was stopped for
    /// a while serves nothing old when it wakes up.
    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        self.nanos() < self.live_until.load(Ordering::Acquire)
    }

    /// How long ago everything held was last known to be in step.
    pub(crate) fn doubt(&self) -> Duration {
        Duration::from_nanos(self.nanos().saturating_sub(self.in_step_at.load(Ordering::Acquire)))
    }

    /// How long the feed may be silent.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }
}
