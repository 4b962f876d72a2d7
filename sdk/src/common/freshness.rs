//! Whether what is held may be served: is the feed heard, and has nothing happened since that makes all entries
//! doubtful.

use super::time::Moment;
use cache_sync_core::number::Lsn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A place in the log that is never reached.
const NO_LSN: u64 = u64::MAX;

/// Shared by the feed, which writes it, and every read.
#[derive(Debug)]
pub(crate) struct FeedFreshness {
    /// The [`Moment`] until which what is held may be served.
    live_until: AtomicU64,
    /// The [`Moment`] before which nothing was committed that has not been processed here.
    in_step_at: AtomicU64,
    /// The feed's epoch; 0 before the first message.
    epoch: AtomicU64,
    /// Where in the log the last change ends that was heard of; [`NO_LSN`] where that cannot be told.
    lsn: AtomicU64,
    timeout: Duration,
    /// Nothing is served any more, whatever is heard.
    ended: AtomicBool,
}

impl FeedFreshness {
    pub(crate) fn new(timeout: Duration) -> FeedFreshness {
        FeedFreshness {
            live_until: AtomicU64::new(0),
            in_step_at: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            lsn: AtomicU64::new(NO_LSN),
            timeout,
            ended: AtomicBool::new(false),
        }
    }

    /// Everything that was committed before `as_of` has been processed. When that was heard does not matter.
    pub(crate) fn in_step(&self, as_of: Moment) {
        self.in_step_at.fetch_max(as_of.nanos(), Ordering::AcqRel);
        self.live_until.fetch_max((as_of + self.timeout).nanos(), Ordering::AcqRel);
        if self.ended.load(Ordering::Acquire) {
            self.live_until.store(0, Ordering::Release);
        }
    }

    /// From now on nothing is served without asking.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.live_until.store(0, Ordering::Release);
    }

    /// The moment before which nothing was committed that has not been processed here.
    pub(crate) fn in_step_at(&self) -> Moment {
        Moment::from_nanos(self.in_step_at.load(Ordering::Acquire))
    }

    /// Whether entries may be served without asking. Compares with the clock, so that a process that was stopped for
    /// a while serves nothing old when it wakes up.
    #[inline]
    pub(crate) fn is_live(&self, now: Moment) -> bool {
        now.nanos() < self.live_until.load(Ordering::Acquire)
    }

    /// For how long that is so, if nothing is heard any more.
    pub(crate) fn live_for(&self, now: Moment) -> Duration {
        Moment::from_nanos(self.live_until.load(Ordering::Acquire)).since(now)
    }

    /// How long ago everything held was last known to be in step.
    pub(crate) fn doubt(&self, now: Moment) -> Duration {
        now.since(self.in_step_at())
    }

    /// The bound on staleness: what is held is served for no longer than this after it was known to be in step.
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
        let freshness = FeedFreshness::new(TIMEOUT);
        let as_of = Moment::from_micros(1_000_000);
        freshness.in_step(as_of);
        assert!(freshness.is_live(as_of + TIMEOUT.saturating_sub(Duration::from_nanos(1))));
        assert!(!freshness.is_live(as_of + TIMEOUT));
        assert!(!freshness.is_live(as_of + 1000 * TIMEOUT));
        assert_eq!(freshness.doubt(as_of + TIMEOUT), TIMEOUT);
    }

    #[test]
    fn nothing_is_served_before_the_feed_is_heard_and_old_news_takes_nothing_back() {
        let freshness = FeedFreshness::new(TIMEOUT);
        let as_of = Moment::from_micros(10_000_000);
        assert!(!freshness.is_live(as_of));
        freshness.in_step(as_of);
        freshness.in_step(Moment::from_micros(1));
        assert!(freshness.is_live(as_of));
        freshness.end();
        freshness.in_step(as_of);
        assert!(!freshness.is_live(as_of));
    }
}
