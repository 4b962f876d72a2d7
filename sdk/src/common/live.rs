//! The walk of somebody who watches: shown what there is, and then each time that it has become something else.

use super::jittered;
use super::liveness::Liveness;
use crate::error::Error;
use std::time::Duration;

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What can be watched.
pub(crate) trait Watchable: Send {
    /// What is shown of it.
    type Read: Send;
    /// What happens to it from some moment on.
    type Since: Send;

    /// From now on what happens is heard of.
    fn since(&self) -> Self::Since;

    /// What it shows.
    fn look(&mut self) -> impl Future<Output = Result<Self::Read, Error>> + Send;

    /// Waits until a look may show something else than the last one.
    fn turned(&mut self, since: Self::Since) -> impl Future<Output = ()> + Send;

    /// Whether what was shown cannot be confirmed.
    fn is_doubtful(read: &Self::Read) -> bool;

    fn is_same(shown: &Self::Read, read: &Self::Read) -> bool;

    fn same(shown: &Self::Read) -> Self::Read;

    /// What was shown, as what cannot be confirmed any more.
    fn doubted(&self, shown: &Self::Read) -> Self::Read;

    /// Whether an error is the last that there is to say.
    fn has_ended(&self) -> bool;
}

/// Something that is watched.
pub(crate) struct Live<W: Watchable> {
    watched: W,
    liveness: Liveness,
    shown: Option<W::Read>,
    pause: Duration,
    /// What happens since the look that failed.
    since_failure: Option<W::Since>,
    /// The last item was an error, so what comes next is news whatever it is.
    has_failed: bool,
    has_ended: bool,
}

impl<W: Watchable> Live<W> {
    pub(crate) fn new(watched: W, liveness: Liveness) -> Live<W> {
        let (since_failure, has_failed, has_ended) = (None, false, false);
        Live { watched, liveness, shown: None, pause: PAUSE_MIN, since_failure, has_failed, has_ended }
    }

    /// What there is to see, once that is not what was shown before. `None`: the client is closed, or an error has ended it.
    pub(crate) async fn next(&mut self) -> Option<Result<W::Read, Error>> {
        while !self.has_ended {
            if let Some(since) = self.since_failure.take() {
                self.rest().await;
                self.until_turned(since).await;
                continue;
            }
            let since = self.watched.since();
            // Nobody asks Postgres again and again for what cannot be kept in step.
            if !self.liveness.is_heard() && self.shown.is_some() {
                if let Some(read) = self.doubted(None) {
                    return Some(Ok(read));
                }
                self.has_ended = !self.liveness.until_heard().await;
                continue;
            }
            let doubtful = match self.watched.look().await {
                Ok(read) if !W::is_doubtful(&read) => {
                    self.pause = PAUSE_MIN;
                    let is_shown = self.shown.as_ref().is_some_and(|shown| W::is_same(shown, &read));
                    if std::mem::take(&mut self.has_failed) || !is_shown {
                        return Some(Ok(self.show(read)));
                    }
                    self.until_turned(since).await;
                    continue;
                }
                Ok(stale) => Some(stale),
                Err(error) if error.is_unavailable() || error.is_overloaded() => None,
                Err(error) => {
                    self.has_ended = error.is_closed() || self.watched.has_ended();
                    self.since_failure = Some(since);
                    self.has_failed = true;
                    return (!error.is_closed()).then_some(Err(error));
                }
            };
            if let Some(read) = self.doubted(doubtful) {
                return Some(Ok(read));
            }
            // The feed may go on all the same.
            self.rest().await;
        }
        None
    }

    async fn rest(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(jittered(self.pause)) => {}
            is_open = self.liveness.turned() => self.has_ended = !is_open,
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    fn show(&mut self, read: W::Read) -> W::Read {
        W::same(self.shown.insert(read))
    }

    /// It cannot be confirmed: it is shown once more, and that it is in doubt. What was shown already is not taken back for something that
    /// may be older.
    fn doubted(&mut self, stale: Option<W::Read>) -> Option<W::Read> {
        match &self.shown {
            Some(shown) if W::is_doubtful(shown) => None,
            Some(shown) => {
                let doubted = self.watched.doubted(shown);
                Some(self.show(doubted))
            }
            None => stale.map(|stale| self.show(stale)),
        }
    }

    /// Waits until something else may be shown.
    async fn until_turned(&mut self, since: W::Since) {
        tokio::select! {
            () = self.watched.turned(since) => {}
            is_open = self.liveness.turned() => self.has_ended = !is_open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::Common;
    use crate::common::freshness::FeedFreshness;
    use crate::error::ErrorKind;
    use crate::meter::ClientMeter;
    use std::sync::Arc;
    use tokio::sync::Notify;
    use tokio::sync::futures::OwnedNotified;

    const LONG: Duration = Duration::from_secs(3600);

    /// Becomes something else in every other look, so often, once that has seen what there was, and tells so.
    struct Restless {
        state: u32,
        looks: u32,
        changes_left: u32,
        /// Which look fails, and shows that there is something else to see.
        fails_at: u32,
        changed: Arc<Notify>,
    }

    impl Restless {
        fn new(changes_left: u32, fails_at: u32) -> Restless {
            Restless { state: 0, looks: 0, changes_left, fails_at, changed: Arc::default() }
        }
    }

    impl Watchable for Restless {
        type Read = u32;
        type Since = OwnedNotified;

        fn since(&self) -> OwnedNotified {
            self.changed.clone().notified_owned()
        }

        async fn look(&mut self) -> Result<u32, Error> {
            let seen = self.state;
            self.looks += 1;
            if self.looks == self.fails_at {
                self.changed.notify_waiters();
                return Err(Error::new(ErrorKind::Value, "it does not fit"));
            }
            if self.looks.is_multiple_of(2) && self.changes_left > 0 {
                self.changes_left -= 1;
                self.state += 1;
                self.changed.notify_waiters();
            }
            Ok(seen)
        }

        async fn turned(&mut self, since: OwnedNotified) {
            since.await;
        }

        fn is_doubtful(_: &u32) -> bool {
            false
        }

        fn is_same(shown: &u32, read: &u32) -> bool {
            shown == read
        }

        fn same(shown: &u32) -> u32 {
            *shown
        }

        fn doubted(&self, shown: &u32) -> u32 {
            *shown
        }

        fn has_ended(&self) -> bool {
            false
        }
    }

    /// What is shown until nothing comes any more; `None` is an error.
    async fn all_that_is_shown(watched: Restless) -> Vec<Option<u32>> {
        let common = Arc::new(Common::new(FeedFreshness::new(LONG), ClientMeter::new("d")));
        common.freshness.in_step(common.now());
        // What follows it would only tell of silence.
        let (liveness, _follow) = Liveness::of(common);
        let mut live = Live::new(watched, liveness);
        let mut shown = Vec::new();
        while let Ok(item) = tokio::time::timeout(LONG, live.next()).await {
            shown.push(item.unwrap().ok());
        }
        shown
    }

    /// A change between a look and the wait for the next one is heard of: the last state is always shown.
    #[tokio::test(start_paused = true)]
    async fn what_changes_during_a_look_is_shown() {
        assert_eq!(all_that_is_shown(Restless::new(5, 0)).await.last(), Some(&Some(5)));
    }

    /// Whoever was told of an error is told that it is over, also where all is as it was before.
    #[tokio::test(start_paused = true)]
    async fn what_can_be_read_again_is_shown_again() {
        assert_eq!(all_that_is_shown(Restless::new(0, 2)).await, [Some(0), None, Some(0)]);
    }
}
