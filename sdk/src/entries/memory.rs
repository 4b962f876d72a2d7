//! What a cache holds: moka stores and evicts; whether an entry may be served is decided by whoever asks.

use crate::codec::key::{self, Key};
use crate::codec::value::{Row, Value};
use crate::common::capacity::Capacity;
use crate::common::time::Moment;
use cache_sync_core::number::{KeyHash, Version};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// A row, or its known absence, in memory. It lies in moka's own entry, so that a hit touches no memory beyond what
/// moka touches and the value.
#[derive(Debug)]
pub(crate) struct Entry<K, V> {
    key: HeldKey<K>,
    pub(crate) value: Option<Arc<V>>,
    /// The version of the row that the value is based on.
    pub(crate) version: Version,
    /// The generation in which it was confirmed.
    pub(crate) generation: u64,
    /// Its lifetime, taken apart so that nothing lies between what is short.
    until: Moment,
    row_expires: bool,
    /// How many bytes the row has.
    bytes: u32,
}

/// Until when an entry is good: its row expires then, or the cache's time to live is over, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) until: Moment,
    /// The row itself expires some time.
    pub(crate) row_expires: bool,
}

impl Lifetime {
    pub(crate) const ENDLESS: Lifetime = Lifetime { until: Moment::NEVER, row_expires: false };

    #[inline]
    pub(crate) fn is_over(self, now: Moment) -> bool {
        self.until <= now
    }
}

impl<K: Clone, V> Entry<K, V> {
    pub(crate) fn new(key: &K, value: Value<V>, version: Version, generation: u64, lifetime: Lifetime) -> Entry<K, V> {
        let Lifetime { until, row_expires } = lifetime;
        let (value, bytes) = value.map_or((None, 0), |row| (Some(row.value), row.bytes));
        Entry { key: HeldKey::new(key), value, version, generation, until, row_expires, bytes }
    }

    /// What it says of the row.
    pub(crate) fn row(&self) -> Value<V> {
        let bytes = self.bytes;
        self.value.clone().map(|value| Row { value, bytes })
    }

    #[inline]
    pub(crate) fn lifetime(&self) -> Lifetime {
        Lifetime { until: self.until, row_expires: self.row_expires }
    }

    pub(crate) fn key(&self) -> &K {
        self.key.get()
    }
}

impl<K: Clone, V> Clone for Entry<K, V> {
    #[inline]
    fn clone(&self) -> Entry<K, V> {
        let Entry { key, value, version, generation, until, row_expires, bytes } = self;
        Entry {
            key: key.clone(),
            value: value.clone(),
            version: *version,
            generation: *generation,
            until: *until,
            row_expires: *row_expires,
            bytes: *bytes,
        }
    }
}

impl<K: Key, V> Entry<K, V> {
    /// About how many bytes of memory it takes: with what moka needs for it, but without what a type needs beyond what is written
    /// of it.
    fn size(&self) -> u64 {
        const OF_MOKA: usize = 256;
        let fixed = OF_MOKA + size_of::<Entry<K, V>>() + if self.value.is_some() { size_of::<V>() } else { 0 };
        (fixed + key::size(self.key())) as u64 + u64::from(self.bytes)
    }
}

/// A key that is cloned with every look-up: what has memory of its own is shared, so that a hit allocates nothing.
#[derive(Clone, Debug)]
enum HeldKey<K> {
    Inline(K),
    Shared(Arc<K>),
}

impl<K: Clone> HeldKey<K> {
    fn new(key: &K) -> HeldKey<K> {
        match std::mem::needs_drop::<K>() {
            true => HeldKey::Shared(Arc::new(key.clone())),
            false => HeldKey::Inline(key.clone()),
        }
    }

    #[inline]
    fn get(&self) -> &K {
        match self {
            HeldKey::Inline(key) => key,
            HeldKey::Shared(key) => key,
        }
    }
}

/// The keys are hashes with a secret already: hashing them again would only cost time.
#[derive(Debug, Default)]
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

/// What lives longer need not be looked for.
const RECLAIM_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// By hash, which is all that a change names: of two keys with one hash, the later one takes the place of the other.
pub(crate) struct Memory<K, V>(moka::sync::Cache<KeyHash, Entry<K, V>, BuildHasherDefault<AlreadyHashed>>);

impl<K: Key, V: Send + Sync + 'static> Memory<K, V> {
    pub(crate) fn new(capacity: Capacity, time_to_live: Option<Duration>) -> Memory<K, V> {
        let builder = moka::sync::Cache::builder().max_capacity(capacity.weight_max());
        let builder = builder.weigher(move |_, entry: &Entry<K, V>| capacity.weight(entry.size()));
        let builder = match time_to_live {
            // Only to have its memory back; moka refuses a thousand years.
            Some(time) => builder.time_to_live(time.min(RECLAIM_MAX)),
            None => builder,
        };
        Memory(builder.build_with_hasher(BuildHasherDefault::default()))
    }

    #[inline]
    pub(crate) fn get(&self, hash: KeyHash, key: &K) -> Option<Entry<K, V>> {
        self.of_hash(hash).filter(|entry| entry.key() == key)
    }

    /// The entry that a change of this hash means.
    #[inline]
    pub(crate) fn of_hash(&self, hash: KeyHash) -> Option<Entry<K, V>> {
        self.0.get(&hash)
    }

    pub(crate) fn hold(&self, hash: KeyHash, entry: Entry<K, V>) {
        self.0.insert(hash, entry);
    }

    pub(crate) fn drop_entry(&self, hash: KeyHash) {
        self.0.invalidate(&hash);
    }

    pub(crate) fn entries(&self) -> Vec<Entry<K, V>> {
        self.0.iter().map(|(_, entry)| entry).collect()
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_hash_are_not_taken_for_each_other() {
        let memory = Memory::new(Capacity::new(10, 1 << 20), None);
        let hash = KeyHash(7);
        for key in ["a".to_owned(), "b".to_owned()] {
            memory.hold(hash, Entry::new(&key, Some(Row::new(key.clone(), 1)), Version(1), 1, Lifetime::ENDLESS));
            assert_eq!(memory.get(hash, &key).and_then(|entry| entry.value).as_deref(), Some(&key));
        }
        assert!(memory.get(hash, &"a".to_owned()).is_none());
        memory.drop_entry(hash);
        assert!(memory.of_hash(hash).is_none());
    }
}
