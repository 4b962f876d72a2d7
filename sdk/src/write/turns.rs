//! Turns: of those who change a row by looking at it, one at a time tries here, so that only other nodes can be in his way.

use crate::common::lock::lock;
use cache_sync_core::number::KeyHash;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Who has his turn at each key, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<KeyHash, Weak<AsyncMutex<()>>>>);

/// It lasts until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    key: KeyHash,
    at_key: Arc<AsyncMutex<()>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    pub(super) async fn wait(&self, key: KeyHash) -> Turn<'_> {
        let at_key = {
            let mut turns = lock(&self.0);
            let at_key = turns.get(&key).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(key, Arc::downgrade(&at_key));
            at_key
        };
        // Whoever gives up waiting leaves like anybody else.
        let mut turn = Turn { turns: self, key, at_key, guard: None };
        turn.guard = Some(turn.at_key.clone().lock_owned().await);
        turn
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
    use futures_util::FutureExt;

    #[test]
    fn one_at_a_time_and_nobody_leaves_anything_behind() {
        let turns = Turns::default();
        let first = turns.wait(KeyHash(1)).now_or_never().unwrap();
        let mut second = Box::pin(turns.wait(KeyHash(1)));
        assert!((&mut second).now_or_never().is_none());
        let mut given_up = Box::pin(turns.wait(KeyHash(1)));
        assert!((&mut given_up).now_or_never().is_none());
        assert!(turns.wait(KeyHash(2)).now_or_never().is_some(), "another key");
        drop(first);
        drop(second.now_or_never().unwrap());
        drop(given_up);
        assert!(lock(&turns.0).is_empty());
    }
}
