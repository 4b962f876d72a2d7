//! What others did: changes of keys, and moments after which nothing held may be trusted unseen.

use super::{ENDED_MAX, Table};
use crate::key::Key;
use crate::lock::lock;
use cache_sync_core::number::Version;
use cache_sync_core::wire::{Change, ChangeKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl<K: Key, V: Serialize + DeserializeOwned + Send + Sync + 'static> Table<K, V> {
    pub(crate) fn change(&self, change: &Change) {
        self.counters.changes.add(1);
        match change.kind {
            ChangeKind::FlushTable => return self.raise_generation(),
            // What depends on it are queries.
            ChangeKind::Tag => return,
            ChangeKind::Versioned | ChangeKind::Unversioned => {}
        }
        let mut shard = self.shard(change.key);
        match shard.get_mut(&change.key) {
            Some(slot) => {
                let generation = self.generation();
                let now = Instant::now();
                if slot.change(change, generation, now, self) {
                    self.reflect(change.key, slot, generation, now);
                }
            }
            None => {
                let Some(entry) = self.memory.of_hash(change.key) else { return };
                let known = change.version != Version::NONE
                    && (entry.version == change.version
                        || (change.kind == ChangeKind::Versioned && entry.version > change.version));
                if !known {
                    self.memory.drop_entry(change.key);
                }
            }
        }
    }

    /// From now on nothing held is served before it has been loaded again.
    pub(crate) fn raise_generation(&self) {
        let mut ended = lock(&self.ended);
        let before = self.generation.fetch_add(1, Ordering::AcqRel);
        ended.push_back((before, Instant::now()));
        if ended.len() > ENDED_MAX {
            ended.pop_front();
        }
    }

    pub(crate) fn retire(&self) {
        self.defunct.store(true, Ordering::Release);
        self.raise_generation();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.defunct.load(Ordering::Acquire)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
