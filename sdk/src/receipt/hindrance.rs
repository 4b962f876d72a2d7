//! What keeps the writes of a cache from Postgres, and how long it is waited for.

use crate::common::lock::lock;
use crate::common::trouble::{Failing, Retried, Trouble};
use crate::error::Error;
use cache_sync_core::number::KeyHash;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long writes are waited for that Postgres refuses to take until somebody does something about it.
const FOR_GOOD_MAX: Duration = Duration::from_secs(60);

/// What keeps the writes of one cache from Postgres, and how long whoever wants to hear of them waits for that.
#[derive(Debug)]
pub(crate) struct Hindrance {
    table: String,
    /// How long a call waits, whatever the reason; `None`: as long as it takes, unless Postgres says that it is for good.
    timeout: Option<Duration>,
    /// Callers may be polled by anybody, but time passes where the client was made.
    runtime: tokio::runtime::Handle,
    batches: Retried,
    /// What was set aside, by key.
    aside: Mutex<HashMap<KeyHash, Failing>>,
    asides: Retried,
    changed: Notify,
}

impl Hindrance {
    pub(crate) fn new(table: String, timeout: Option<Duration>, runtime: tokio::runtime::Handle) -> Hindrance {
        Hindrance {
            batches: Retried::new("writing a batch", Some(table.clone())),
            asides: Retried::new("writing patches that were set aside", Some(table.clone())),
            table,
            timeout,
            runtime,
            aside: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// A batch of the line could not be written; all others wait behind it.
    pub(crate) fn failed(&self, error: &Error) {
        if self.batches.failed(error) {
            self.changed.notify_waiters();
        }
    }

    /// The line goes on.
    pub(crate) fn succeeded(&self) {
        if self.batches.succeeded() {
            self.changed.notify_waiters();
        }
    }

    /// These patches could not be written by themselves; nobody else waits for them.
    pub(crate) fn failed_aside(&self, keys: &[KeyHash], error: &Error) {
        let mut aside = lock(&self.aside);
        for key in keys {
            aside.entry(*key).and_modify(|failing| failing.again(error)).or_insert_with(|| Failing::new(error));
        }
        drop(aside);
        self.asides.failed(error);
        self.changed.notify_waiters();
    }

    /// What the line's batch met was of these alone: they go by themselves from now on.
    pub(crate) fn set_aside(&self, keys: &[KeyHash]) {
        if let Some(failing) = self.batches.hand_over() {
            keys.iter().for_each(|key| drop(lock(&self.aside).insert(*key, failing.clone())));
            self.asides.failed(failing.error());
            self.changed.notify_waiters();
        }
    }

    /// They have been written.
    pub(crate) fn succeeded_aside(&self, keys: &[KeyHash]) {
        let mut aside = lock(&self.aside);
        if aside.is_empty() {
            return;
        }
        keys.iter().for_each(|key| drop(aside.remove(key)));
        if aside.is_empty() {
            self.asides.succeeded();
        }
    }

    /// What is known of it, for people.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.batches.trouble().or_else(|| self.asides.trouble())
    }

    /// Does the work, unless it takes longer than it is worth: a write of this key, or of any that has not been accepted.
    ///
    /// # Errors
    /// What keeps it so long.
    pub(crate) async fn bound<T>(&self, key: Option<KeyHash>, work: impl Future<Output = T>) -> Result<T, Error> {
        let began = Instant::now();
        tokio::pin!(work);
        loop {
            let changed = self.changed.notified();
            let until = self.until(key, began);
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = changed => {}
                () = self.sleep_until(until) => return Err(self.over(key, began)),
            }
        }
    }

    fn failing(&self, key: Option<KeyHash>) -> Option<Failing> {
        let aside = key.and_then(|key| lock(&self.aside).get(&key).cloned());
        aside.or_else(|| self.batches.failing())
    }

    fn until(&self, key: Option<KeyHash>, began: Instant) -> Option<Instant> {
        let for_good = self.failing(key).and_then(|failing| failing.for_good_since());
        let for_good =
            for_good.map(|since| since + self.timeout.map_or(FOR_GOOD_MAX, |timeout| timeout.min(FOR_GOOD_MAX)));
        for_good.into_iter().chain(self.timeout.map(|timeout| began + timeout)).min()
    }

    async fn sleep_until(&self, until: Option<Instant>) {
        match until {
            None => std::future::pending().await,
            Some(until) if until <= Instant::now() => {}
            Some(until) => {
                let sleep = {
                    let _here = self.runtime.enter();
                    Box::pin(tokio::time::sleep_until(until))
                };
                sleep.await;
            }
        }
    }

    fn over(&self, key: Option<KeyHash>, began: Instant) -> Error {
        match self.failing(key) {
            Some(failing) => Error::unwritten(&self.table, &failing.error().to_string(), Some(failing.error())),
            None => {
                let waited = began.elapsed();
                Error::unwritten(&self.table, &format!("no answer within {waited:.1?}"), None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use futures_util::FutureExt;

    const KEY: KeyHash = KeyHash(7);

    fn hindrance(timeout: Option<Duration>) -> Hindrance {
        Hindrance::new("t".to_owned(), timeout, tokio::runtime::Handle::current())
    }

    fn refused() -> Error {
        Error::new(ErrorKind::Database, "permission denied")
    }

    fn away() -> Error {
        Error::new(ErrorKind::Unavailable, "nobody answers")
    }

    /// How long a write waits that never gets to Postgres; `None`: more than a day.
    async fn waits(hindrance: &Hindrance) -> Option<u64> {
        let (began, never) = (Instant::now(), std::future::pending::<()>());
        let day = Duration::from_secs(86_400);
        let ended = tokio::time::timeout(day, hindrance.bound(Some(KEY), never)).await.ok()?;
        assert!(ended.unwrap_err().is_unwritten());
        Some(began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_waited_out_and_what_is_for_good_is_not() {
        let hindrance = hindrance(None);
        assert_eq!(waits(&hindrance).await, None);
        hindrance.failed(&away());
        assert_eq!(waits(&hindrance).await, None);
        hindrance.failed(&refused());
        assert_eq!(waits(&hindrance).await, Some(60));
        assert_eq!(waits(&hindrance).await, Some(0), "it has lasted so long already");
        hindrance.succeeded();
        assert_eq!(waits(&hindrance).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_bounds_both() {
        let hindrance = hindrance(Some(Duration::from_secs(5)));
        assert_eq!(waits(&hindrance).await, Some(5));
        hindrance.failed(&away());
        assert_eq!(waits(&hindrance).await, Some(5));
        hindrance.failed(&refused());
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(waits(&hindrance).await, Some(2), "since it is refused");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_aside_keeps_nobody_else() {
        let hindrance = hindrance(None);
        hindrance.failed(&refused());
        hindrance.set_aside(&[KeyHash(8)]);
        assert_eq!(waits(&hindrance).await, None);
        hindrance.failed_aside(&[KEY], &refused());
        assert_eq!(waits(&hindrance).await, Some(60));
        hindrance.succeeded_aside(&[KEY]);
        assert_eq!(waits(&hindrance).await, None);
        assert!(hindrance.trouble().is_some());
        hindrance.succeeded_aside(&[KeyHash(8)]);
        assert!(hindrance.trouble().is_none());
    }

    #[tokio::test]
    async fn what_is_there_is_not_waited_for() {
        let hindrance = hindrance(Some(Duration::ZERO));
        assert_eq!(hindrance.bound(None, async { 1 }).now_or_never().unwrap().unwrap(), 1);
    }
}
