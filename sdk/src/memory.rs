//! What a cache holds: moka stores and evicts; whether an entry may be served is decided by whoever asks.

use crate::slot::Value;
use cache_sync_core::number::{KeyHash, Version};
use equivalent::Equivalent;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::time::Duration;

/// A row, or its known absence, in memory. It lies in moka's own entry, so that a hit touches no memory beyond what
/// moka touches and the value.
#[derive(Debug)]
pub(crate) struct Entry<V> {
    pub(crate) value: Value<V>,
    /// The version of the row that the value is based on.
    pub(crate) version: Version,
    /// The generation in which it was confirmed.
    pub(crate) generation: u64,
}

impl<V> Clone for Entry<V> {
    #[inline]
    fn clone(&self) -> Entry<V> {
        Entry { value: self.value.clone(), version: self.version, generation: self.generation }
    }
}

/// A key as moka holds it.
#[derive(Debug, PartialEq, Eq)]
struct Held<K> {
    hash: KeyHash,
    key: K,
}

/// A key as it is looked up.
struct Sought<'a, K> {
    hash: KeyHash,
    key: &'a K,
}

impl<K: Eq> Equivalent<Held<K>> for Sought<'_, K> {
    #[inline]
    fn equivalent(&self, held: &Held<K>) -> bool {
        self.hash == held.hash && *self.key == held.key
    }
}

/// Whatever key has this hash, as changes name it.
impl<K> Equivalent<Held<K>> for KeyHash {
    #[inline]
    fn equivalent(&self, held: &Held<K>) -> bool {
        *self == held.hash
    }
}

impl<K> Hash for Held<K> {
    #[inline]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.hash.hash(hasher);
    }
}

impl<K> Hash for Sought<'_, K> {
    #[inline]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.hash.hash(hasher);
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

/// Holds at most one key of each hash, so that a change, which names but the hash, means the entry that is found: a slot
/// that does not find its own key here drops what another one has left, and only keys with a slot are put here.
pub(crate) struct Memory<K, V>(moka::sync::Cache<Held<K>, Entry<V>, BuildHasherDefault<AlreadyHashed>>);

impl<K: Clone + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Memory<K, V> {
    pub(crate) fn new(max_capacity: u64, time_to_live: Option<Duration>) -> Memory<K, V> {
        let builder = moka::sync::Cache::builder().max_capacity(max_capacity);
        let builder = match time_to_live {
            Some(time) => builder.time_to_live(time),
            None => builder,
        };
        Memory(builder.build_with_hasher(BuildHasherDefault::default()))
    }

    #[inline]
    pub(crate) fn get(&self, hash: KeyHash, key: &K) -> Option<Entry<V>> {
        self.0.get(&Sought { hash, key })
    }

    /// The entry that a change of this hash means.
    pub(crate) fn of_hash(&self, hash: KeyHash) -> Option<Entry<V>> {
        self.0.get(&hash)
    }

    pub(crate) fn hold(&self, hash: KeyHash, key: &K, entry: Entry<V>) {
        self.0.insert(Held { hash, key: key.clone() }, entry);
    }

    pub(crate) fn drop_entry(&self, hash: KeyHash) {
        self.0.invalidate(&hash);
    }

    pub(crate) fn entries(&self) -> Vec<(K, Entry<V>)> {
        self.0.iter().map(|(held, entry)| (held.key.clone(), entry)).collect()
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn entry(value: i32) -> Entry<i32> {
        Entry { value: Some(Arc::new(value)), version: Version(1), generation: 1 }
    }

    #[test]
    fn keys_of_one_hash_are_not_taken_for_each_other() {
        let memory = Memory::new(10, None);
        let hash = KeyHash(7);
        memory.hold(hash, &"a", entry(1));
        assert!(memory.get(hash, &"b").is_none());
        assert_eq!(memory.get(hash, &"a").and_then(|entry| entry.value).as_deref(), Some(&1));
        assert!(memory.of_hash(hash).is_some());
        memory.drop_entry(hash);
        assert!(memory.get(hash, &"a").is_none());
    }
}
