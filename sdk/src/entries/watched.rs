//! A key that somebody watches.

use super::Entries;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::time::Moment;
use cache_sync_core::number::KeyHash;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

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
        self.entries.place(self.hash).topics().leave(self.hash);
    }
}

impl<K: Key, V: CacheValue> Entries<K, V> {
    pub(crate) fn watch(self: &Arc<Self>, hash: KeyHash) -> Watched<K, V> {
        let changed = self.place(hash).topics().watch(hash);
        Watched { entries: self.clone(), hash, changed }
    }
}
