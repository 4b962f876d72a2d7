//! Turns: of those who change a row by looking at it, one at a time tries here, so that only other nodes can be in his way.
//!
//! Where the row cannot be loaded, those behind hear so from the first one, as if all had waited for the same load.

use crate::common::lock::lock;
use crate::error::Error;
use cache_sync_core::number::KeyHash;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::Instant;

/// Who has his turn at each key, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<KeyHash, Weak<AtKey>>>);

#[derive(Debug, Default)]
struct AtKey {
    turn: Arc<AsyncMutex<()>>,
    /// How often the row could not be loaded, and why not the last time.
    failed: Mutex<(u64, Option<Error>)>,
}

/// It lasts until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    key: KeyHash,
    at_key: Arc<AtKey>,
    guard: Option<OwnedMutexGuard<()>>,
    since: Instant,
}

impl Turns {
    /// # Errors
    /// What somebody has met whose turn it was meanwhile, if Postgres does not answer.
    pub(super) async fn wait(&self, key: KeyHash) -> Result<Turn<'_>, Error> {
        let at_key = {
            let mut turns = lock(&self.0);
            let at_key = turns.get(&key).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(key, Arc::downgrade(&at_key));
            at_key
        };
        // Whoever gives up waiting leaves like anybody else.
        let mut turn = Turn { turns: self, key, at_key, guard: None, since: Instant::now() };
        let failed_before = lock(&turn.at_key.failed).0;
        turn.guard = Some(turn.at_key.turn.clone().lock_owned().await);
        turn.since = Instant::now();
        let error = {
            let failed = lock(&turn.at_key.failed);
            failed.1.clone().filter(|_| failed.0 != failed_before)
        };
        error.map_or(Ok(turn), Err)
    }
}

impl Turn<'_> {
    /// For how long it has lasted.
    pub(super) fn lasts(&self) -> Duration {
        self.since.elapsed()
    }

    /// The row could not be loaded. If that is because Postgres does not answer, nobody who waits behind this one need find out so by himself.
    pub(crate) fn failed(&self, error: &Error) {
        if error.is_unavailable() {
            let mut failed = lock(&self.at_key.failed);
            *failed = (failed.0 + 1, Some(error.clone()));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.guard.take());
        // Who comes takes his share under this lock.
        let mut turns = lock(&self.turns.0);
        if Arc::strong_count(&self.at_key) == 1 {
            turns.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use futures_util::FutureExt;

    #[test]
    fn one_at_a_time_and_nobody_leaves_anything_behind() {
        let turns = Turns::default();
        let first = turns.wait(KeyHash(1)).now_or_never().unwrap().unwrap();
        let mut second = Box::pin(turns.wait(KeyHash(1)));
        assert!((&mut second).now_or_never().is_none());
        let mut given_up = Box::pin(turns.wait(KeyHash(1)));
        assert!((&mut given_up).now_or_never().is_none());
        assert!(turns.wait(KeyHash(2)).now_or_never().is_some(), "another key");
        drop(first);
        drop(second.now_or_never().unwrap().unwrap());
        drop(given_up);
        assert!(lock(&turns.0).is_empty());
    }

    #[test]
    fn who_waits_behind_one_whom_postgres_does_not_answer_hears_so_from_him() {
        let turns = Turns::default();
        let first = turns.wait(KeyHash(1)).now_or_never().unwrap().unwrap();
        let mut behind: Vec<_> = (0..3).map(|_| Box::pin(turns.wait(KeyHash(1)))).collect();
        assert!(behind.iter_mut().all(|waits| waits.now_or_never().is_none()));
        first.failed(&Error::new(ErrorKind::Unavailable, "nobody answers"));
        let mut after = Box::pin(turns.wait(KeyHash(1)));
        assert!((&mut after).now_or_never().is_none());
        drop(first);
        for waits in behind {
            let error = waits.now_or_never().unwrap().unwrap_err();
            assert!(error.is_unavailable() && error.to_string() == "nobody answers", "{error}");
        }
        let after = after.now_or_never().unwrap().expect("he has come later, and tries for himself");
        let mut last = Box::pin(turns.wait(KeyHash(1)));
        assert!((&mut last).now_or_never().is_none());
        after.failed(&Error::new(ErrorKind::Value, "it does not fit"));
        drop(after);
        assert!(last.now_or_never().unwrap().is_ok(), "that is of his own type");
        assert!(lock(&turns.0).is_empty());
    }
}
