//! What others did: changes of keys, and moments after which nothing held may be trusted unseen.

use super::Entries;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use cache_sync_core::number::{KeyHash, Version};
use cache_sync_core::wire::{Change, ChangeKind};
use std::time::Instant;

impl<K: Key, V: CacheValue> Entries<K, V> {
    /// Takes a committed change of one key.
    pub(crate) fn change(&self, change: &Change) {
        let mut place = self.place(change.key);
        match place.slot() {
            Some(slot) => {
                let now = Instant::now();
                if slot.change(change, self.generation(), now, &self.schema) {
                    place.reflect(now);
                }
            }
            None => {
                let Some(entry) = self.memory.of_hash(change.key) else { return };
                let is_known = change.version != Version::NONE
                    && (entry.version == change.version
                        || (change.kind == ChangeKind::Versioned && entry.version > change.version));
                if !is_known {
                    self.memory.drop_entry(change.key);
                }
            }
        }
    }

    /// From now on nothing held is served before it has been loaded again.
    pub(crate) fn raise_generation(&self) {
        self.generations.raise();
    }

    /// Drops what memory holds for the key; the row is not touched.
    pub(crate) fn invalidate(&self, hash: KeyHash) {
        let mut place = self.place(hash);
        match place.slot() {
            Some(slot) => {
                slot.invalidate(self.generation(), &self.schema);
                place.reflect(Instant::now());
            }
            None => self.memory.drop_entry(hash),
        }
    }
}
