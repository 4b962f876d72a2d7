//! What a client shares with all its tables: whether it is open, whether the feed is heard, the time.
//!
//! ```text
//! freshness  whether what is held may be served     clock     the time, stamps of writes, and the server's clock
//! time       what goes on while a machine sleeps    lock      locks that outlive a panic
//! counters   what is counted                       trouble   what fails and is tried again
//! capacity   how much may be held                 task      tasks that end with whoever has them
//! liveness   tells when the feed turns silent     live      the walk of somebody who watches
//! watch      what users hold who watch
//! ```

pub(crate) mod capacity;
pub(crate) mod clock;
pub(crate) mod counters;
pub(crate) mod freshness;
pub(crate) mod live;
pub(crate) mod liveness;
pub(crate) mod lock;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod trouble;
pub(crate) mod watch;

use crate::error::{Error, ErrorKind};
use crate::meter::ClientMeter;
use clock::Clock;
use freshness::FeedFreshness;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use time::Moment;
use uuid::Uuid;

/// What a client shares with all its tables.
pub(crate) struct Common {
    pub(crate) freshness: FeedFreshness,
    pub(crate) clock: Clock,
    pub(crate) meter: ClientMeter,
    pub(crate) closed: AtomicBool,
    /// Why the client is good for nothing any more: a task of it has ended.
    pub(crate) broken: OnceLock<&'static str>,
}

impl Common {
    pub(crate) fn new(freshness: FeedFreshness, meter: ClientMeter) -> Common {
        let (closed, broken) = (AtomicBool::new(false), OnceLock::new());
        Common { freshness, clock: Clock::default(), meter, closed, broken }
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// A moment that is not before now, and mostly soon after it.
    #[inline]
    pub(crate) fn latest(&self) -> Moment {
        self.clock.latest()
    }

    /// Whether the feed is heard: what is held may be served without asking.
    pub(crate) fn is_live(&self) -> bool {
        self.freshness.is_live(self.now())
    }

    /// Whether the client is open and all its tasks work.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::closed());
        }
        self.check_alive()
    }

    /// Whether all tasks of the client work.
    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        self.broken.get().map_or(Ok(()), |why| Err(Error::new(ErrorKind::Closed, *why)))
    }
}

/// Between half and the whole of the pause, so that many clients do not come back at once.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let random = Uuid::new_v4().as_u64_pair().0 % 1000;
    pause.mul_f64(0.5 + random as f64 / 2000.0)
}
