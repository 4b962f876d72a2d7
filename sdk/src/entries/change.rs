//! What others did: changes of keys, and moments after which nothing held may be trusted unseen.

use super::Entries;
use super::Entry;
use super::shards::Shard;
use super::slot::Hold;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::time::Moment;
use cache_sync_core::number::{KeyHash, Version};
use cache_sync_core::wire::{Change, ChangeKind};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a change that may be the echo of a batch under way is held back at most before the entry is doubted.
const HOLD_MAX: Duration = Duration::from_millis(250);

/// What was held is no longer so, or may not be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turned<K> {
    /// The key, if what was held was read: it is to be loaded again.
    pub(crate) to_refresh: Option<K>,
    /// It was shown, and is not any more. What is held back as a possible echo still is.
    pub(crate) is_dropped: bool,
}

impl<K: Key, V: CacheValue> Entries<K, V> {
    /// Takes a committed change of one key. None: it changes nothing of what is held.
    pub(crate) fn change(&self, change: &Change) -> Option<Turned<K>> {
        let mut place = self.place(change.key);
        let is_read = |entry: &Entry<K, V>| (self.refreshes && entry.is_read()).then(|| entry.key().clone());
        match place.slot() {
            Some(slot) => {
                let now = self.common.now();
                let was_shown = slot.is_shown(self.generation(), now);
                if !slot.change(change, self.generation(), self.hold_back(now), &self.schema) {
                    return None;
                }
                let is_dropped = was_shown && !slot.is_shown(self.generation(), now);
                // Which a possible echo is not yet.
                let is_changed = !slot.is_holding_back();
                let to_refresh = self.memory.peek(change.key, is_read).flatten().filter(|_| is_changed);
                place.reflect(now);
                place.tell_watchers();
                Some(Turned { to_refresh, is_dropped })
            }
            None => {
                let is_old = |entry: &Entry<K, V>| {
                    change.version == Version::NONE
                        || (entry.version != change.version
                            && (change.kind != ChangeKind::Versioned || entry.version < change.version))
                };
                let held = self.memory.peek(change.key, |entry| (is_old(entry), is_read(entry)));
                match &held {
                    Some((true, read)) if read.is_some() || self.serves_replaced() => {
                        self.replace(change.key);
                    }
                    Some((true, _)) => self.memory.drop_entry(change.key),
                    _ => {}
                }
                // Also of what is not held: what they were shown may have been evicted.
                if !matches!(held, Some((false, _))) {
                    place.tell_watchers();
                }
                held.filter(|(is_old, _)| *is_old).map(|(_, to_refresh)| Turned { to_refresh, is_dropped: true })
            }
        }
    }

    fn serves_replaced(&self) -> bool {
        self.stale_while_refreshing > Duration::ZERO
    }

    /// What memory holds for the key is no longer so: it is kept for who takes it, or for what is known of its readers. Its shard is locked.
    fn replace(&self, hash: KeyHash) {
        let (hold, current) = (self.hold_back(self.common.now()), self.generation());
        self.memory.replace(hash, |entry| {
            let (generation, until) = hold.replaced(entry.generation, current, entry.lifetime().until)?;
            Some(entry.replaced(generation, until))
        });
    }

    /// What may be shown of a row of which a change was told at `now`. It may have been committed at any time since everything before was known to
    /// be told, so what it replaced is old by then already.
    pub(super) fn hold_back(&self, now: Moment) -> Hold {
        let freshness = &self.common.freshness;
        let as_of = freshness.in_step_at();
        let is_kept = self.refreshes || self.serves_replaced();
        let kept_until = is_kept.then(|| now + self.stale_while_refreshing);
        Hold { until: (now + HOLD_MAX).min(as_of + freshness.timeout()), as_of, kept_until }
    }

    /// What is held back is no echo: everybody must see it from now on, and nobody what it has replaced.
    pub(crate) fn end_holds(&self) {
        self.caught_up.fetch_max(self.common.now().nanos(), Ordering::AcqRel);
        self.shards.each_shard(|Shard { slots, topics, .. }| {
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
