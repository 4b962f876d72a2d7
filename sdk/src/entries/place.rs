//! A key's place under the lock of its shard, for one step of that key.

use super::Entries;
use super::entry::{Answer, Confirmed, Entry};
use super::shards::Shard;
use super::slot::{Base, Slot};
use super::topics::Topics;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::time::Moment;
use crate::config::Mode;
use crate::receipt::Receipt;
use cache_sync_core::number::KeyHash;
use std::sync::MutexGuard;

/// What is known of a row without the writes that wait.
pub(crate) enum Written<V> {
    /// It is held.
    Held(Answer<V>),
    /// Writes of the key wait.
    Waits(Vec<Receipt>),
    Unknown,
}

/// Whose turn it is looks at a row in order to change it.
pub(crate) struct Look<'a, K: Key, V: CacheValue> {
    entries: &'a Entries<K, V>,
    hash: KeyHash,
}

impl<K: Key, V: CacheValue> Drop for Look<'_, K, V> {
    fn drop(&mut self) {
        self.entries.place(self.hash).shard.looks.end(self.hash);
    }
}

/// So much room for slots a shard keeps when it is empty.
const SHARD_KEPT: usize = 256;

/// A key's place, locked: nobody else takes a step of this key meanwhile.
pub(crate) struct Place<'a, K: Key, V: CacheValue> {
    entries: &'a Entries<K, V>,
    hash: KeyHash,
    shard: MutexGuard<'a, Shard<K, V>>,
    /// Behind the lock, so that it is dropped when that is open.
    upkeep: Upkeep<'a, K, V>,
}

/// What memory wants to be done, as soon as nobody waits behind it.
struct Upkeep<'a, K: Key, V: CacheValue> {
    entries: &'a Entries<K, V>,
    is_due: bool,
}

impl<K: Key, V: CacheValue> Drop for Upkeep<'_, K, V> {
    fn drop(&mut self) {
        if self.is_due && !std::thread::panicking() {
            self.entries.memory.keep_up();
        }
    }
}

impl<K: Key, V: CacheValue> Entries<K, V> {
    pub(crate) fn place(&self, hash: KeyHash) -> Place<'_, K, V> {
        let upkeep = Upkeep { entries: self, is_due: false };
        Place { entries: self, hash, shard: self.shards.of(hash), upkeep }
    }

    /// Begins to look. What was accepted before is shown to him, since it was under the same lock; of what is accepted later he is told.
    pub(crate) fn look(&self, hash: KeyHash) -> Look<'_, K, V> {
        self.place(hash).shard.looks.begin(hash);
        Look { entries: self, hash }
    }

    /// The row as Postgres has it, if it is held and may be served.
    pub(crate) fn written(&self, key: &K, hash: KeyHash) -> Written<V> {
        let mut place = self.place(hash);
        let now = self.common.now();
        let may_serve = self.common.freshness.is_live(now) && self.is_serving(hash);
        let answer = match place.slot() {
            Some(slot) if slot.key != *key => None,
            Some(slot) => {
                let receipts: Vec<_> = slot.receipts().collect();
                if !receipts.is_empty() {
                    return Written::Waits(receipts);
                }
                slot.answer(self.generation(), now)
            }
            None => self.peek(key, hash, |entry| self.is_current(entry, now).then(|| entry.answer())).flatten(),
        };
        answer.filter(|_| may_serve).map_or(Written::Unknown, Written::Held)
    }
}

impl<K: Key, V: CacheValue> Place<'_, K, V> {
    /// The slot, if something is under way for the key.
    pub(crate) fn slot(&mut self) -> Option<&mut Slot<K, V>> {
        self.shard.slots.get_mut(&self.hash)
    }

    /// The slot; a new one over what memory holds, if there is none.
    pub(crate) fn slot_or_new(&mut self, key: &K) -> &mut Slot<K, V> {
        let (entries, hash) = (self.entries, self.hash);
        self.shard.slots.entry(hash).or_insert_with(|| {
            // Of what is overtaken nothing is made that could be served.
            let known = |entry: &Entry<K, V>| {
                (!entry.is_overtaken()).then(|| Base::Known {
                    lifetime: entry.lifetime(),
                    value: entry.row(),
                    version: entry.version,
                    generation: entry.generation,
                })
            };
            let base = entries.peek(key, hash, known).flatten();
            Slot::new(key.clone(), base.unwrap_or(Base::Unknown), entries.generation())
        })
    }

    pub(super) fn topics(&mut self) -> &mut Topics {
        &mut self.shard.topics
    }

    /// A write was accepted, and is shown where it can be.
    pub(crate) fn note_write(&mut self) {
        self.shard.looks.written(self.hash);
    }

    /// Whether a write was accepted since somebody in turn has begun to look.
    pub(crate) fn is_written_since(&self) -> bool {
        self.shard.looks.is_written(self.hash)
    }

    /// Whoever watches the key looks what it shows now.
    pub(crate) fn tell_watchers(&self) {
        self.shard.topics.changed(self.hash);
    }

    /// Lets memory hold what the slot shows.
    pub(crate) fn reflect(&mut self, now: Moment) {
        let Some(slot) = self.shard.slots.get(&self.hash) else { return };
        // Read anew: what the step has shown in an older generation fails the slot's own check.
        let (entries, generation) = (self.entries, self.entries.generation());
        if entries.mode() == Mode::Off {
            return entries.memory.drop_entry(self.hash);
        }
        match slot.entry(generation, now) {
            Some((answer, lifetime)) => {
                let confirmed = Confirmed { generation, lifetime, at: now };
                self.upkeep.is_due |=
                    entries.memory.hold(self.hash, &slot.key, &answer.value, answer.version, confirmed);
            }
            None => match slot.of_no_generation() {
                // It may still be served to who takes what is stale.
                Some(Base::Known { value, version, generation, lifetime }) => {
                    let confirmed = Confirmed { generation: *generation, lifetime: *lifetime, at: now };
                    self.upkeep.is_due |= entries.memory.hold(self.hash, &slot.key, value, *version, confirmed);
                }
                _ => entries.memory.drop_entry(self.hash),
            },
        }
    }

    /// Lets the slot go if nothing is under way any more.
    pub(crate) fn leave(&mut self) {
        let slots = &mut self.shard.slots;
        if slots.get(&self.hash).is_some_and(Slot::is_idle) {
            slots.remove(&self.hash);
            if slots.is_empty() {
                slots.shrink_to(SHARD_KEPT);
            }
        }
    }
}
