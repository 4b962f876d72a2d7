//! Reads: the hit path, and the way to a load and back.

use super::Table;
use crate::error::Error;
use crate::key::Key;
use crate::lock::lock;
use crate::memory::Entry;
use crate::slot::{Answer, Loaded, Value};
use cache_sync_core::number::KeyHash;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What became of a look-up.
pub(crate) enum Found<V> {
    Here(Answer<V>),
    Loading(oneshot::Receiver<Result<Answer<V>, Error>>),
    /// Another key with the same hash is busy: this one goes past the cache.
    Collision,
}

/// A key whose load is about to be sent.
pub(crate) struct Wanted<K> {
    pub(crate) hash: KeyHash,
    pub(crate) key: K,
    pub(crate) flight: u64,
}

impl<K: Key, V: Serialize + DeserializeOwned + Send + Sync + 'static> Table<K, V> {
    /// The hit path: no lock, no allocation, no statement.
    #[inline]
    pub(crate) fn hit(&self, key: &K, hash: KeyHash) -> Option<Entry<K, V>> {
        let entry = self.memory.get(hash, key)?;
        (self.is_current(&entry) && self.common.freshness.is_live()).then(|| {
            self.counters.hits.add_one(hash.0);
            entry
        })
    }

    #[inline]
    fn is_current(&self, entry: &Entry<K, V>) -> bool {
        entry.generation == self.generation.load(Ordering::Acquire) && !entry.expires.is_over(self.common.started)
    }

    /// The way of a read that did not hit: what a slot shows, or the load that will bring it.
    pub(crate) fn look_up(&self, key: &K, hash: KeyHash) -> Result<Found<V>, Error> {
        let now = Instant::now();
        let live = self.common.freshness.is_live_at(now);
        let mut shard = self.shard(hash);
        // Under the lock, so that nobody begins to wait after `abandon` has come by.
        self.check_usable()?;
        let slot = match shard.entry(hash) {
            MapEntry::Occupied(slot) => {
                let slot = slot.into_mut();
                if slot.key != *key {
                    return Ok(Found::Collision);
                }
                if let Some(value) = slot.shown(self.generation(), now).filter(|_| live) {
                    self.counters.hits.add_one(hash.0);
                    return Ok(Found::Here((value, slot.base_version())));
                }
                slot
            }
            MapEntry::Vacant(vacant) => match self.memory.get(hash, key) {
                // It came between the look that failed and the lock.
                Some(entry) if live && self.is_current(&entry) => {
                    self.counters.hits.add_one(hash.0);
                    return Ok(Found::Here((entry.value, entry.version)));
                }
                entry => vacant.insert(self.slot_over(entry, key)),
            },
        };
        self.counters.misses.add(1);
        let (sender, receiver) = oneshot::channel();
        if slot.join(self.flights.fetch_add(1, Ordering::Relaxed), self.generation(), sender) {
            lock(&self.wanted).push_back(hash);
            self.load.notify_one();
        }
        Ok(Found::Loading(receiver))
    }

    /// What was held when the database went away, if the caller allows it and it is not too old: the value, and for how
    /// long it has been in doubt at most.
    pub(crate) fn stale(&self, key: &K, hash: KeyHash) -> Option<(Value<V>, Duration)> {
        let (value, doubt) = match self.shard(hash).get(&hash).filter(|slot| slot.key == *key) {
            Some(slot) => {
                let (value, confirmed) = slot.last_known(self.generation(), Instant::now(), self)?;
                (value, self.doubt(confirmed))
            }
            None => {
                let entry = self.memory.get(hash, key).filter(|entry| !entry.expires.is_over(self.common.started))?;
                (entry.value, self.doubt(entry.generation))
            }
        };
        (doubt <= self.common.stale_while_unavailable).then(|| {
            self.counters.stale_served.add(1);
            (value, doubt)
        })
    }

    fn doubt(&self, generation: u64) -> Duration {
        if generation == self.generation() {
            return self.common.freshness.doubt();
        }
        let ended = lock(&self.ended).iter().find(|(of, _)| *of == generation).map(|(_, at)| at.elapsed());
        ended.unwrap_or(Duration::MAX)
    }

    pub(crate) fn has_wanted(&self) -> bool {
        !lock(&self.wanted).is_empty()
    }

    /// The keys whose loads may go into one statement now.
    pub(crate) fn take_wanted(&self, max: usize) -> Vec<Wanted<K>> {
        let mut wanted = lock(&self.wanted);
        let hashes: Vec<_> = {
            let count = wanted.len().min(max);
            wanted.drain(..count).collect()
        };
        drop(wanted);
        hashes
            .into_iter()
            .filter_map(|hash| {
                let mut shard = self.shard(hash);
                let slot = shard.get_mut(&hash)?;
                let flight = slot.start(self.generation())?;
                Some(Wanted { hash, key: slot.key.clone(), flight })
            })
            .collect()
    }

    pub(crate) fn loaded(&self, wanted: &Wanted<K>, loaded: &Loaded<V>) {
        self.step(wanted.hash, |slot| {
            if slot.loaded(wanted.flight, loaded, self.generation(), self) {
                lock(&self.wanted).push_back(wanted.hash);
                self.load.notify_one();
            }
        });
    }

    /// Memory stays as it is: what is held may still be served stale.
    pub(crate) fn load_failed(&self, wanted: &Wanted<K>, error: &Error) {
        let mut shard = self.shard(wanted.hash);
        if let Some(slot) = shard.get_mut(&wanted.hash) {
            slot.load_failed(wanted.flight, error);
            if slot.is_idle() {
                shard.remove(&wanted.hash);
            }
        }
    }
}
