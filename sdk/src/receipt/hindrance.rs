//! What keeps the writes of a cache from Postgres, and how long it is waited for.

use crate::common::lock::lock;
use crate::common::trouble::{Failing, Retried, Trouble};
use crate::error::{Error, ErrorKind};
use cache_sync_core::number::KeyHash;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long writes are waited for that Postgres refuses to take until somebody does something about it.
const FOR_GOOD_MAX: Duration = Duration::from_secs(60);

/// What keeps the writes of one cache from Postgres, and how long whoever wants to hear of them waits for that.
#[derive(Debug)]
pub(crate) struct Hindrance {
    table: String,
    /// How long a call waits, whatever the reason.
    timeout: Duration,
    /// Callers may be polled by anybody, but time passes where the client was made.
    runtime: tokio::runtime::Handle,
    batches: Retried,
    /// What was set aside, by key.
    aside: Mutex<HashMap<KeyHash, Failing>>,
    asides: Retried,
    changed: Notify,
    /// Those of the other caches, with which it shares the buffer.
    all: Arc<Hindrances>,
}

/// What keeps the writes of a client's caches from Postgres.
#[derive(Debug, Default)]
pub(crate) struct Hindrances {
    of_caches: Mutex<Vec<Weak<Hindrance>>>,
    changed: Notify,
}

impl Hindrances {
    fn add(&self, hindrance: &Arc<Hindrance>) {
        let mut of_caches = lock(&self.of_caches);
        of_caches.retain(|known| known.strong_count() > 0);
        of_caches.push(Arc::downgrade(hindrance));
    }

    /// A table that takes no writes until somebody does something about it, and what it says.
    fn for_good(&self) -> Option<(Arc<Hindrance>, Failing)> {
        let of_caches: Vec<_> = lock(&self.of_caches).iter().filter_map(Weak::upgrade).collect();
        of_caches.into_iter().find_map(|hindrance| {
            let failing = hindrance.for_good()?;
            Some((hindrance, failing))
        })
    }
}

impl Hindrance {
    pub(crate) fn new(
        table: String,
        timeout: Duration,
        runtime: tokio::runtime::Handle,
        all: Arc<Hindrances>,
    ) -> Arc<Hindrance> {
        let hindrance = Arc::new(Hindrance {
            batches: Retried::new("writing a batch", Some(table.clone())),
            asides: Retried::new("writing patches that were set aside", Some(table.clone())),
            table,
            timeout,
            runtime,
            aside: Mutex::default(),
            changed: Notify::new(),
            all,
        });
        hindrance.all.add(&hindrance);
        hindrance
    }

    /// How long a call waits, whatever the reason.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    fn tell(&self) {
        self.changed.notify_waiters();
        self.all.changed.notify_waiters();
    }

    /// A batch of the line could not be written; all others wait behind it.
    pub(crate) fn failed(&self, error: &Error) {
        if self.batches.failed(error) {
            self.tell();
        }
    }

    /// The line goes on.
    pub(crate) fn succeeded(&self) {
        if self.batches.succeeded() {
            self.tell();
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
        self.tell();
    }

    /// What the line's batch met was of these alone: they go by themselves from now on.
    pub(crate) fn set_aside(&self, keys: &[KeyHash]) {
        if let Some(failing) = self.batches.hand_over() {
            keys.iter().for_each(|key| drop(lock(&self.aside).insert(*key, failing.clone())));
            self.asides.failed(failing.error());
            self.tell();
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

    /// Waits for what becomes of a write of this key, unless that takes longer than it is worth.
    ///
    /// # Errors
    /// What keeps it so long.
    pub(crate) async fn written<T>(&self, key: KeyHash, work: impl Future<Output = T>) -> Result<T, Error> {
        let began = Instant::now();
        let done = self.bound(&self.changed, || self.until(self.failing(key), began), work).await;
        done.ok_or_else(|| self.over(key, began))
    }

    /// Waits for the turn to change the row of this key, for as long as a write is waited for.
    ///
    /// # Errors
    /// It has not come; if it is known what keeps writes of the row, with that.
    pub(crate) async fn turn<T>(&self, key: KeyHash, work: impl Future<Output = T>) -> Result<T, Error> {
        let began = Instant::now();
        let done = self.bound(&self.changed, || began.checked_add(self.timeout), work).await;
        done.ok_or_else(|| {
            let (table, waited) = (&self.table, began.elapsed());
            let message = format!("changing a row of {table}: others here were still changing it after {waited:.1?}");
            match self.failing(key) {
                Some(failing) => {
                    let cause = failing.error();
                    Error::caused(ErrorKind::Unavailable, format!("{message}: {cause}"), cause.clone())
                }
                None => Error::new(ErrorKind::Unavailable, message),
            }
        })
    }

    /// Waits for room in the buffer, unless that takes longer than it is worth. What another table does not take may be all that is in
    /// it.
    ///
    /// # Errors
    /// What takes up the room.
    pub(crate) async fn room<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let began = Instant::now();
        let until = || {
            let of_another = self.all.for_good().map(|_| began + self.for_good_max());
            self.until(self.batches.failing(), began).into_iter().chain(of_another).min()
        };
        let done = self.bound(&self.all.changed, until, work).await;
        done.ok_or_else(|| match self.all.for_good() {
            Some((other, failing)) => {
                let error = failing.error();
                Error::no_room(&format!("{} takes none of its patches: {error}", other.table), Some(error))
            }
            None => Error::no_room(&format!("no room within {:.1?}", began.elapsed()), None),
        })
    }

    /// `None`: it took too long.
    async fn bound<T>(
        &self,
        changed: &Notify,
        until: impl Fn() -> Option<Instant>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::pin!(work);
        loop {
            let changed = changed.notified();
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = changed => {}
                () = self.sleep_until(until()) => return None,
            }
        }
    }

    fn failing(&self, key: KeyHash) -> Option<Failing> {
        let aside = lock(&self.aside).get(&key).cloned();
        aside.or_else(|| self.batches.failing())
    }

    /// What is refused until somebody does something about it.
    fn for_good(&self) -> Option<Failing> {
        let is_for_good = |failing: &Failing| failing.for_good_since().is_some();
        let aside = || lock(&self.aside).values().find(|failing| is_for_good(failing)).cloned();
        self.batches.failing().filter(is_for_good).or_else(aside)
    }

    fn for_good_max(&self) -> Duration {
        self.timeout.min(FOR_GOOD_MAX)
    }

    fn until(&self, failing: Option<Failing>, began: Instant) -> Option<Instant> {
        let for_good = failing.and_then(|failing| failing.for_good_since()).map(|since| since + self.for_good_max());
        for_good.into_iter().chain(began.checked_add(self.timeout)).min()
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

    fn over(&self, key: KeyHash, began: Instant) -> Error {
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
    use futures_util::FutureExt;

    const KEY: KeyHash = KeyHash(7);

    fn hindrance(timeout: Duration) -> Arc<Hindrance> {
        of("t", timeout, &Arc::default())
    }

    fn of(table: &str, timeout: Duration, all: &Arc<Hindrances>) -> Arc<Hindrance> {
        Hindrance::new(table.to_owned(), timeout, tokio::runtime::Handle::current(), all.clone())
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
        let ended = tokio::time::timeout(day, hindrance.written(KEY, never)).await.ok()?;
        assert!(ended.unwrap_err().is_unwritten());
        Some(began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_waited_out_and_what_is_for_good_is_not() {
        let hindrance = hindrance(Duration::MAX);
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
        let hindrance = hindrance(Duration::from_secs(5));
        assert_eq!(waits(&hindrance).await, Some(5));
        hindrance.failed(&away());
        assert_eq!(waits(&hindrance).await, Some(5));
        hindrance.failed(&refused());
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(waits(&hindrance).await, Some(2), "since it is refused");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_aside_keeps_nobody_else() {
        let hindrance = hindrance(Duration::MAX);
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

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_waited_for_as_long_as_a_write() {
        let hindrance = hindrance(Duration::from_secs(5));
        let waits = async || {
            let began = Instant::now();
            let never = std::future::pending::<()>();
            let error = hindrance.turn(KEY, never).await.unwrap_err();
            assert!(error.is_unavailable(), "{error}");
            (began.elapsed().as_secs(), error.to_string())
        };
        let (waited, why) = waits().await;
        assert!(waited == 5 && why.ends_with("others here were still changing it after 5.0s"), "{waited} {why}");
        hindrance.failed(&refused());
        tokio::time::advance(Duration::from_secs(60)).await;
        let (waited, why) = waits().await;
        assert!(waited == 5 && why.ends_with("permission denied"), "{waited} {why}");
    }

    #[tokio::test]
    async fn what_is_there_is_not_waited_for() {
        let hindrance = hindrance(Duration::ZERO);
        assert_eq!(hindrance.room(async { 1 }).now_or_never().unwrap().unwrap(), 1);
        assert_eq!(self::hindrance(Duration::MAX).room(async { 1 }).now_or_never().unwrap().unwrap(), 1);
    }

    /// How long a write waits for room that there never is; `None`: more than a day.
    async fn waits_for_room(hindrance: &Hindrance) -> Option<(u64, String)> {
        let (began, never) = (Instant::now(), std::future::pending::<()>());
        let day = Duration::from_secs(86_400);
        let error = tokio::time::timeout(day, hindrance.room(never)).await.ok()?.unwrap_err();
        assert!(error.is_full());
        Some((began.elapsed().as_secs(), error.to_string()))
    }

    #[tokio::test(start_paused = true)]
    async fn room_that_another_table_takes_up_is_not_waited_for_without_end() {
        let all = Arc::default();
        let [one, other] = ["one", "other"].map(|table| of(table, Duration::MAX, &all));
        one.failed(&away());
        assert!(waits_for_room(&other).await.is_none());
        one.failed(&refused());
        let (waited, why) = waits_for_room(&other).await.unwrap();
        assert!(waited == 60 && why.contains("one takes none"), "{waited} {why}");
        assert_eq!(waits_for_room(&one).await.unwrap().0, 0, "it has lasted so long already");
        one.succeeded();
        assert!(waits_for_room(&other).await.is_none());
        other.failed_aside(&[KEY], &refused());
        assert_eq!(waits_for_room(&other).await.unwrap().0, 60);
        drop(other);
        assert!(waits_for_room(&one).await.is_none());
    }
}
