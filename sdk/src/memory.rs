//! What a cache holds: moka stores and evicts; whether an entry may be served is decided by whoever asks.

use crate::slot::Value;
use cache_sync_core::number::{KeyHash, Version};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A row, or its known absence, in memory.
#[derive(Debug)]
pub(crate) struct Entry<K, V> {
    pub(crate) key: K,
    pub(crate) value: Value<V>,
    version: AtomicI64,
    generation: AtomicU64,
}

impl<K, V> Entry<K, V> {
    pub(crate) fn new(key: K, value: Value<V>, version: Version, generation: u64) -> Entry<K, V> {
        Entry { key, value, version: AtomicI64::new(version.0), generation: AtomicU64::new(generation) }
    }

    /// The version of the row that the value is based on.
    pub(crate) fn version(&self) -> Version {
        Version(self.version.load(Ordering::Acquire))
    }

    /// The generation in which it was confirmed.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
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

pub(crate) struct Memory<K, V>(moka::sync::Cache<KeyHash, Arc<Entry<K, V>>, BuildHasherDefault<AlreadyHashed>>);

impl<K: Send + Sync + 'static, V: Send + Sync + 'static> Memory<K, V> {
    pub(crate) fn new(max_capacity: u64, time_to_live: Option<Duration>) -> Memory<K, V> {
        let builder = moka::sync::Cache::builder().max_capacity(max_capacity);
        let builder = match time_to_live {
            Some(time) => builder.time_to_live(time),
            None => builder,
        };
        Memory(builder.build_with_hasher(BuildHasherDefault::default()))
    }

    #[inline]
    pub(crate) fn get(&self, hash: KeyHash) -> Option<Arc<Entry<K, V>>> {
        self.0.get(&hash)
    }

    pub(crate) fn hold(&self, hash: KeyHash, entry: Entry<K, V>) {
        self.0.insert(hash, Arc::new(entry));
    }

    /// Confirms what is held already, if it is this very value: that is cheaper than to hold it anew.
    pub(crate) fn confirm(&self, hash: KeyHash, value: &Value<V>, version: Version, generation: u64) -> bool {
        let Some(entry) = self.0.get(&hash) else { return false };
        let same = match (&entry.value, value) {
            (Some(held), Some(value)) => Arc::ptr_eq(held, value),
            _ => false,
        };
        if same {
            entry.version.store(version.0, Ordering::Release);
            entry.generation.store(generation, Ordering::Release);
        }
        same
    }

    pub(crate) fn drop_entry(&self, hash: KeyHash) {
        self.0.invalidate(&hash);
    }

    pub(crate) fn entries(&self) -> Vec<Arc<Entry<K, V>>> {
        self.0.iter().map(|(_, entry)| entry).collect()
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}
