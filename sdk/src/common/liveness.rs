//! Tells whoever waits whether the feed is heard, when that turns.

use super::Common;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked whether the feed is heard again.
const LOOK_MIN: Duration = Duration::from_millis(10);
/// And at least: the time that is left may be over on a machine that slept, or be taken back.
const LOOK_MAX: Duration = Duration::from_millis(100);

/// Whether the feed is heard, and when that turns.
#[derive(Clone)]
pub(crate) struct Liveness {
    heard: watch::Receiver<bool>,
    /// Gone once the client has ended.
    teller: Weak<Teller>,
}

impl Liveness {
    /// And the task that follows the feed, which has to be run.
    pub(crate) fn of(common: Arc<Common>) -> (Liveness, impl Future<Output = ()> + Send + 'static) {
        let (tell, heard) = watch::channel(common.is_live());
        let teller = Arc::new(Teller { common, tell });
        (Liveness { heard, teller: Arc::downgrade(&teller) }, follow(teller))
    }

    /// From now on nothing that turns is missed. It is as of now, not as of when the task has looked last: nobody is told of doubt that is
    /// over.
    pub(crate) fn is_heard(&mut self) -> bool {
        if let Some(teller) = self.teller.upgrade() {
            teller.look();
        }
        *self.heard.borrow_and_update()
    }

    /// Waits until it turns; `false` when the client has ended.
    pub(crate) async fn turned(&mut self) -> bool {
        self.heard.changed().await.is_ok()
    }

    /// Waits until it is heard; `false` when the client has ended.
    pub(crate) async fn until_heard(&mut self) -> bool {
        self.heard.wait_for(|is_heard| *is_heard).await.is_ok()
    }
}

struct Teller {
    common: Arc<Common>,
    tell: watch::Sender<bool>,
}

impl Teller {
    /// Tells whether the feed is heard now, and returns for how long it is if nothing else comes.
    fn look(&self) -> Duration {
        let mut left = Duration::ZERO;
        self.tell.send_if_modified(|heard| {
            left = self.common.freshness.live_for(self.common.now());
            let is_live = !left.is_zero();
            std::mem::replace(heard, is_live) != is_live
        });
        left
    }
}

async fn follow(teller: Arc<Teller>) {
    while teller.common.check_open().is_ok() {
        let left = teller.look();
        // One receiver is kept for those who are to come.
        let is_waited_for = teller.tell.receiver_count() > 1;
        tokio::time::sleep(if is_waited_for { left.clamp(LOOK_MIN, LOOK_MAX) } else { LOOK_MAX }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::freshness::FeedFreshness;
    use crate::meter::ClientMeter;

    /// Also while the task that follows the feed sleeps, or has no turn on a busy machine.
    #[tokio::test(start_paused = true)]
    async fn is_as_of_now() {
        let timeout = Duration::from_secs(3600);
        let common = Arc::new(Common::new(FeedFreshness::new(timeout), ClientMeter::new("d")));
        let (mut liveness, follow) = Liveness::of(common.clone());
        assert!(!liveness.is_heard());
        common.freshness.in_step(common.now());
        assert!(liveness.is_heard());
        assert!(liveness.until_heard().await);
        common.freshness.end();
        // Nobody has looked but the task, which has to tell what it has not seen itself.
        let telling = tokio::spawn(follow);
        assert!(liveness.turned().await);
        assert!(!liveness.is_heard());
        telling.abort();
        assert!(!liveness.turned().await);
        assert!(!liveness.until_heard().await);
    }
}
