//! Whether what is held may be served: is the feed heard, and has nothing happened since that makes all entries
//! doubtful.

use cache_sync_core::number::Lsn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A place in the log that is never reached.
const NO_LSN: u64 = u64::MAX;

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
    /// Where in the log the last change ends that was heard of; [`NO_LSN`] where that cannot be told.
    lsn: AtomicU64,
    timeout: Duration,
}

impl Freshness {
    pub(crate) fn new(timeout: Duration) -> Freshness {
        Freshness {
            start: Instant::now(),
            live_until: AtomicU64::new(0),
            in_step_at: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            lsn: AtomicU64::new(NO_LSN),
            timeout,
        }
    }

    fn nanos(&self) -> u64 {
        self.nanos_at(Instant::now())
    }

    #[inline]
    fn nanos_at(&self, now: Instant) -> u64 {
        now.duration_since(self.start).as_nanos() as u64
    }

    /// The feed was heard just now, and everything up to what it said has been processed.
    pub(crate) fn heard(&self) {
        self.heard_at(self.nanos());
    }

    /// An answer has come to what was asked at `asked`, behind everything that had been committed before.
    pub(crate) fn heard_by(&self, asked: Instant) {
        self.heard_at(self.nanos_at(asked));
    }

    fn heard_at(&self, now: u64) {
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
        self.is_live_at(Instant::now())
    }

    /// The same, for who knows the time already.
    #[inline]
    pub(crate) fn is_live_at(&self, now: Instant) -> bool {
        self.nanos_at(now) < self.live_until.load(Ordering::Acquire)
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

    /// Up to where the log of the feed's server must have been replayed to show everything that was heard of; `None` where that
    /// cannot be told.
    pub(crate) fn lsn(&self) -> Option<Lsn> {
        Some(self.lsn.load(Ordering::Acquire)).filter(|lsn| *lsn != NO_LSN).map(Lsn)
    }

    /// Notes where the last change ends, before it is told. Only the feed writes it.
    pub(crate) fn set_lsn(&self, lsn: Option<Lsn>) {
        self.lsn.store(lsn.map_or(NO_LSN, |lsn| lsn.0), Ordering::Release);
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(3);

    /// The process is stopped (SIGSTOP, a suspended machine) right after it heard the feed, and nothing of it runs until
    /// it wakes: whoever reads first must notice by himself.
    #[test]
    fn a_process_that_was_stopped_serves_nothing_old_when_it_wakes() {
        let freshness = Freshness::new(TIMEOUT);
        let heard = Instant::now();
        freshness.heard_at(freshness.nanos_at(heard));
        assert!(freshness.is_live());
        assert!(freshness.is_live_at(heard + TIMEOUT - Duration::from_nanos(1)));
        assert!(!freshness.is_live_at(heard + TIMEOUT));
        assert!(!freshness.is_live_at(heard + 1000 * TIMEOUT));
    }

    #[test]
    fn nothing_is_served_before_the_feed_is_heard_and_after_it_is_lost() {
        let freshness = Freshness::new(TIMEOUT);
        assert!(!freshness.is_live());
        freshness.heard();
        assert!(freshness.is_live());
        freshness.lost();
        assert!(!freshness.is_live());
    }
}
