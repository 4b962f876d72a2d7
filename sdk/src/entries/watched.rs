//! Who wants to hear when what a key shows may have changed.

use super::Entries;
use super::memory::AlreadyHashed;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::time::Moment;
use cache_sync_core::number::KeyHash;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// The keys of a shard that are watched, each with what its watchers wait for, and how many they are.
#[derive(Debug, Default)]
pub(super) struct WatchedKeys(HashMap<KeyHash, (Arc<Notify>, usize), BuildHasherDefault<AlreadyHashed>>);

impl WatchedKeys {
    fn watch(&mut self, hash: KeyHash) -> Arc<Notify> {
        let (changed, watchers) = self.0.entry(hash).or_default();
        *watchers += 1;
        changed.clone()
    }

    fn leave(&mut self, hash: KeyHash) {
        if let Some((_, watchers)) = self.0.get_mut(&hash) {
            *watchers -= 1;
            if *watchers == 0 {
                self.0.remove(&hash);
            }
        }
    }

    pub(super) fn changed(&self, hash: KeyHash) {
        if let Some((changed, _)) = self.0.get(&hash) {
            changed.notify_waiters();
        }
    }

    pub(super) fn all_changed(&self) {
        self.0.values().for_each(|(changed, _)| changed.notify_waiters());
    }
}

/// A key that is watched until this is dropped.
pub(crate) struct Watched<K: Key, V: CacheValue> {
    entries: Arc<Entries<K, V>>,
    hash: KeyHash,
    changed: Arc<Notify>,
}

impl<K: Key, V: CacheValue> Watched<K, V> {
    /// Comes back once what the key shows may be another than it is at this call.
    pub(crate) fn changed(&self) -> OwnedNotified {
        self.changed.clone().notified_owned()
    }

    /// When what the key shows ends although nothing happens: its row expires, or a change is held back no longer.
    pub(crate) fn ends_at(&self) -> Option<Moment> {
        let mut place = self.entries.place(self.hash);
        match place.slot() {
            Some(slot) => slot.ends_at(),
            None => self.entries.memory.peek(self.hash, |entry| entry.lifetime().row_ends_at()).flatten(),
        }
    }
}

impl<K: Key, V: CacheValue> Drop for Watched<K, V> {
    fn drop(&mut self) {
        self.entries.place(self.hash).watched().leave(self.hash);
    }
}

impl<K: Key, V: CacheValue> Entries<K, V> {
    pub(crate) fn watch(self: &Arc<Self>, hash: KeyHash) -> Watched<K, V> {
        let changed = self.place(hash).watched().watch(hash);
        Watched { entries: self.clone(), hash, changed }
    }
}
