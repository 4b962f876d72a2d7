//! What a cache holds: reads find it in a map by hash, and moka decides what stays.
//!
//! Both are told of each entry by whoever holds its shard's lock. Who stores puts it into the map, then tells moka: as soon as moka
//! knows it, moka may evict it, on another thread, and takes it out of the map then. Who drops takes it out of the map, then tells
//! moka, so that no read waits for moka. So whatever lies in the map is known to moka, or is about to be. A value that takes the place of
//! another that weighs about as much leaves moka out: it is the same stay.

mod room;

use super::entry::{Confirmed, Entry, Stay, Tenure, Weigher, size};
use super::hits::Hits;
use crate::codec::key::{Key, LookUp};
use crate::codec::value::Value;
use crate::common::capacity::Capacity;
use crate::config::Ages;
use cache_sync_core::number::{KeyHash, Version};
use papaya::{Compute, Guard, Operation};
use room::{Growth, Room};
use std::cell::Cell;
use std::convert::Infallible;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;
use tokio::runtime::Handle;

/// The keys are hashes with a secret already: hashing them again would only cost time.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Hashing = BuildHasherDefault<AlreadyHashed>;

/// By hash, which is all that a change names: of two keys with one hash, the later one takes the place of the other.
type Held<K, V> = papaya::HashMap<KeyHash, Entry<K, V>, Hashing>;

/// What lives longer need not be looked for.
const RECLAIM_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// After so many new stays moka is told to do what it has put off. By itself it lets 64 come together, and whoever brings the last one,
/// which is one reader of 64, waits for all of them. With fewer it weighs each against what is held before it may have been read again,
/// and more often for nothing.
const UPKEEP_EVERY: u32 = 16;

thread_local! {
    /// moka has called this thread, and waits.
    static IS_EVICTING: Cell<bool> = const { Cell::new(false) };
}

/// What moka knows of a stay.
#[derive(Clone, Copy, Debug)]
struct Known {
    tenure: Tenure,
    weight: u32,
}

pub(super) struct Memory<K, V> {
    held: Arc<Held<K, V>>,
    room: Room,
    /// The same hashes, without their values.
    policy: moka::sync::Cache<KeyHash, Known, Hashing>,
    capacity: Capacity,
    weigher: Option<Weigher<K, V>>,
    /// How many stays there were; each has the next number.
    tenures: AtomicU32,
    /// How many absences were held; each has the next number.
    absences: AtomicU32,
    /// moka ends a stay by its age, so each value begins one of its own.
    ends_by_age: bool,
    /// moka hears of nothing then.
    holds_nothing: bool,
    /// moka counts how often keys are asked for that it does not have: not before it is half full.
    counts_misses: AtomicBool,
    hits: Hits,
    settling: Mutex<()>,
}

impl<K: Key, V: Send + Sync + 'static> Memory<K, V> {
    pub(super) fn new(capacity: Capacity, weigher: Option<Weigher<K, V>>, ages: &Ages) -> Memory<K, V> {
        let held: Arc<Held<K, V>> = Arc::default();
        let evicts_from = held.clone();
        let evict = move |hash: Arc<KeyHash>, known: Known, _cause| {
            IS_EVICTING.set(true);
            let guard = evicts_from.guard();
            // What came for the same hash since is another stay.
            let _ = evicts_from.remove_if(&*hash, |_, entry| entry.stay.tenure == known.tenure, &guard);
            drop(guard);
            IS_EVICTING.set(false);
        };
        let builder = moka::sync::Cache::builder().max_capacity(capacity.weight_max()).eviction_listener(evict);
        let builder = builder.weigher(|_, known: &Known| known.weight);
        // Only to have its memory back; moka refuses a thousand years.
        let builder = match ages.time_to_live {
            Some(time) => builder.time_to_live(time.min(RECLAIM_MAX)),
            None => builder,
        };
        let builder = match ages.time_to_idle {
            // It hears of reads somewhat later.
            Some(time) => builder.time_to_idle((time.saturating_add(time / 16)).min(RECLAIM_MAX)),
            None => builder,
        };
        Memory {
            held,
            room: Room::default(),
            policy: builder.build_with_hasher(Hashing::default()),
            capacity,
            weigher,
            tenures: AtomicU32::new(0),
            absences: AtomicU32::new(0),
            ends_by_age: ages.time_to_live.or(ages.time_to_idle).is_some(),
            holds_nothing: capacity.weight_max() == 0,
            counts_misses: AtomicBool::new(false),
            hits: Hits::default(),
            settling: Mutex::default(),
        }
    }

    /// A read: shows the key's entry. If `look` brings something it was a hit, which is counted, and told to moka now and then. What
    /// `look` sees is not freed meanwhile, nor is whatever others let go.
    #[inline]
    pub(super) fn read<Q: ?Sized, R>(
        &self,
        hash: KeyHash,
        by: &Q,
        look: impl FnOnce(&Entry<K, V>) -> Option<R>,
    ) -> Option<R>
    where
        K: LookUp<Q>,
    {
        let guard = self.held.guard();
        let entry = self.held.get(&hash, &guard).filter(|entry| entry.key().is(by))?;
        let found = look(entry)?;
        let is_told = self.hits.count(guard.thread_id()) | entry.stay.has_begun();
        drop(guard);
        if is_told {
            self.tell(hash);
        }
        Some(found)
    }

    /// Shows the entry that a change of this hash means, which is no read.
    pub(super) fn peek<R>(&self, hash: KeyHash, look: impl FnOnce(&Entry<K, V>) -> R) -> Option<R> {
        let guard = self.held.guard();
        self.held.get(&hash, &guard).map(look)
    }

    /// A hit that was answered otherwise.
    pub(super) fn count_hit(&self) {
        self.hits.count(self.held.guard().thread_id());
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits.sum()
    }

    /// A key is asked for that is not held, or may not be served.
    pub(super) fn missed(&self, hash: KeyHash) {
        self.hits.missed(self.held.guard().thread_id());
        if self.counts_misses() {
            self.tell(hash);
        }
    }

    fn counts_misses(&self) -> bool {
        if !self.counts_misses.load(Ordering::Relaxed) {
            if self.policy.weighted_size() < self.capacity.weight_max() / 2 {
                return false;
            }
            self.counts_misses.store(true, Ordering::Relaxed);
        }
        true
    }

    /// A key is written, which counts as a read.
    pub(super) fn written(&self, hash: KeyHash) {
        let (is_held, thread) = {
            let guard = self.held.guard();
            (self.held.contains_key(&hash, &guard), guard.thread_id())
        };
        if !is_held || self.hits.written(thread) {
            self.tell(hash);
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn tell(&self, hash: KeyHash) {
        let _ = self.policy.get(&hash);
    }

    /// The key's shard is locked. Returns whether there is something to be kept up once it is not.
    #[must_use]
    pub(super) fn hold(
        &self,
        hash: KeyHash,
        key: &K,
        value: &Value<V>,
        version: Version,
        confirmed: Confirmed,
    ) -> bool {
        if self.holds_nothing {
            return false;
        }
        let weight = self.capacity.weight(size(key, value, self.weigher.as_ref()));
        let absence = if value.is_none() { self.absences.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let entry = |stay| Entry::new(key, value.clone(), absence, version, confirmed, stay);
        let mut begun = None;
        let put = |before: Option<(&KeyHash, &Entry<K, V>)>| -> Operation<Entry<K, V>, Infallible> {
            let before = before.map(|(_, before)| &before.stay);
            Operation::Insert(entry(match before {
                Some(stay) if !self.ends_by_age && stay.can_bear(weight) => stay.goes_on(),
                _ => {
                    let next = || Tenure(self.tenures.fetch_add(1, Ordering::Relaxed));
                    Stay::new(*begun.get_or_insert_with(next), weight, before.map(Stay::interest).unwrap_or_default())
                }
            }))
        };
        let guard = self.held.guard();
        // Who evicts a stay meanwhile comes first, and a new one begins; or takes the new value too, where the stay goes on; or finds another
        // stay, and leaves it.
        let tenure = match self.held.compute(hash, put, &guard) {
            Compute::Inserted(_, entry) | Compute::Updated { new: (_, entry), .. } => entry.stay.tenure,
            Compute::Removed(..) => unreachable!("it was put"),
            Compute::Aborted(never) => match never {},
        };
        drop(guard);
        if begun != Some(tenure) {
            // It goes on, and moka knows it.
            return false;
        }
        self.policy.insert(hash, Known { tenure, weight });
        tenure.0.is_multiple_of(UPKEEP_EVERY)
    }

    /// Does what map and moka put off, which others may be at.
    #[cold]
    pub(super) fn keep_up(&self) {
        self.settle_some();
        self.make_room();
    }

    fn settle_some(&self) {
        // Somebody's value may come here while moka evicts it: moka would wait for itself.
        if IS_EVICTING.get() {
            return;
        }
        let one = match self.settling.try_lock() {
            Ok(one) => one,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.policy.run_pending_tasks();
        drop(one);
    }

    fn make_room(&self) {
        let Some(Growth { more, at_once }) = self.room.growth(self.held.len()) else { return };
        let held = self.held.clone();
        let grow = move || {
            let guard = held.guard();
            held.reserve(more, &guard);
            // The table that was.
            guard.flush();
        };
        match Handle::try_current() {
            // Others read and write meanwhile. Nobody has to wait for it: it ends when all entries are moved, and holds nothing but the map.
            Ok(runtime) if !at_once => drop(runtime.spawn_blocking(grow)),
            _ => grow(),
        }
    }

    /// Keeps what memory holds for the key, if `replaced` makes something of it, as that; else lets it go. The key's shard is locked.
    pub(super) fn replace(&self, hash: KeyHash, replaced: impl Fn(&Entry<K, V>) -> Option<Entry<K, V>>) {
        let guard = self.held.guard();
        let replace = |before: Option<(&KeyHash, &Entry<K, V>)>| match before {
            Some((_, entry)) => replaced(entry).map_or(Operation::Remove, Operation::Insert),
            None => Operation::Abort(()),
        };
        // It weighs the same: moka need not hear of it.
        if let Compute::Removed(..) = self.held.compute(hash, replace, &guard) {
            drop(guard);
            self.policy.invalidate(&hash);
        }
    }

    /// The key's shard is locked.
    pub(super) fn drop_entry(&self, hash: KeyHash) {
        if self.held.remove(&hash, &self.held.guard()).is_some() {
            self.policy.invalidate(&hash);
        }
    }

    /// Shows everything that is held.
    pub(super) fn each(&self, mut look: impl FnMut(&Entry<K, V>)) {
        let guard = self.held.guard();
        self.held.iter(&guard).for_each(|(_, entry)| look(entry));
    }

    /// The hashes of all these that are held.
    pub(super) fn hashes_of(&self, is_meant: impl Fn(&Entry<K, V>) -> bool) -> Vec<KeyHash> {
        let guard = self.held.guard();
        self.held.iter(&guard).filter(|(_, entry)| is_meant(entry)).map(|(hash, _)| *hash).collect()
    }

    /// It has room for nothing.
    pub(super) fn holds_nothing(&self) -> bool {
        self.holds_nothing
    }

    pub(super) fn len(&self) -> u64 {
        self.policy.run_pending_tasks();
        self.policy.entry_count()
    }
}

#[cfg(test)]
mod tests;
