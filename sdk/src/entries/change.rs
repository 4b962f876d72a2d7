//! What others did: changes of keys, and moments after which nothing held may be trusted unseen.

use super::Entries;
use super::shards::Shard;
use super::slot::Hold;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::time::Moment;
use cache_sync_core::number::{KeyHash, Version};
use cache_sync_core::wire::{Change, ChangeKind};
use std::time::Duration;

/// How long a change that may be the echo of a batch under way is held back at most before the entry is doubted.
const HOLD_MAX: Duration = Duration::from_millis(250);

impl<K: Key, V: CacheValue> Entries<K, V> {
    /// Takes a committed change of one key. Says whether what was held of it is dropped, or held back.
    pub(crate) fn change(&self, change: &Change) -> bool {
        let mut place = self.place(change.key);
        match place.slot() {
            Some(slot) => {
                let now = self.common.now();
                let is_turned = slot.change(change, self.generation(), self.hold_back(now), &self.schema);
                if is_turned {
                    place.reflect(now);
                    place.tell_watchers();
                }
                is_turned
            }
            None => {
                let is_old = self.memory.peek(change.key, |entry| {
                    change.version == Version::NONE
                        || (entry.version != change.version
                            && (change.kind != ChangeKind::Versioned || entry.version < change.version))
                });
                if is_old == Some(true) {
                    self.memory.drop_entry(change.key);
                }
                // Also of what is not held: what they were shown may have been evicted.
                if is_old != Some(false) {
                    place.tell_watchers();
                }
                is_old == Some(true)
            }
        }
    }

    /// For how long a change that was told at `now` may be held back as the possible echo of a batch under way. It may have been
    /// committed at any time since everything before was known to be told, so what it replaced is old by then already.
    pub(super) fn hold_back(&self, now: Moment) -> Hold {
        let freshness = &self.common.freshness;
        let as_of = freshness.in_step_at();
        Hold { until: (now + HOLD_MAX).min(as_of + freshness.timeout()), as_of }
    }

    /// What is held back is no echo: everybody must see it from now on.
    pub(crate) fn end_holds(&self) {
        self.shards.each_shard(|Shard { slots, topics }| {
            for (hash, slot) in slots {
                if slot.end_hold(self.generation(), &self.schema) {
                    topics.changed(*hash);
                }
            }
        });
    }

    /// From now on nothing held is served before it has been loaded again.
    pub(crate) fn raise_generation(&self) {
        self.generations.raise(self.common.freshness.in_step_at());
        self.shards.each_shard(|shard| shard.topics.all_changed());
    }

    /// Drops what memory holds for the key; the row is not touched.
    pub(crate) fn invalidate(&self, hash: KeyHash) {
        let mut place = self.place(hash);
        match place.slot() {
            Some(slot) => {
                slot.invalidate(self.generation(), &self.schema);
                place.reflect(self.common.now());
            }
            None => self.memory.drop_entry(hash),
        }
        place.tell_watchers();
    }
}
