//! Tells whoever waits whether the feed is heard, when that turns.

use super::Common;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked whether the feed is heard again.
const LOOK_MIN: Duration = Duration::from_millis(10);
/// And at least: the time that is left may be over on a machine that slept, or be taken back.
const LOOK_MAX: Duration = Duration::from_millis(100);

/// Whether the feed is heard, as the task that follows it has said last.
#[derive(Clone, Debug)]
pub(crate) struct Liveness(watch::Receiver<bool>);

impl Liveness {
    /// And the task, which has to be run.
    pub(crate) fn of(common: Arc<Common>) -> (Liveness, impl Future<Output = ()> + Send + 'static) {
        let (tell, heard) = watch::channel(common.is_live());
        (Liveness(heard), follow(common, tell))
    }

    /// From now on nothing that turns is missed.
    pub(crate) fn is_heard(&mut self) -> bool {
        *self.0.borrow_and_update()
    }

    /// Waits until it turns; `false` when the client has ended.
    pub(crate) async fn turned(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Waits until it is heard; `false` when the client has ended.
    pub(crate) async fn until_heard(&mut self) -> bool {
        self.0.wait_for(|is_heard| *is_heard).await.is_ok()
    }
}

async fn follow(common: Arc<Common>, tell: watch::Sender<bool>) {
    while common.check_open().is_ok() {
        let left = common.freshness.live_for(common.now());
        let is_live = !left.is_zero();
        tell.send_if_modified(|heard| std::mem::replace(heard, is_live) != is_live);
        // One receiver is kept for those who are to come.
        let is_waited_for = tell.receiver_count() > 1;
        tokio::time::sleep(if is_waited_for { left.clamp(LOOK_MIN, LOOK_MAX) } else { LOOK_MAX }).await;
    }
}
