//! The hit path: no lock, no allocation, no statement.

use super::Reads;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::entries::Entry;
use cache_sync_core::number::KeyHash;

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// What memory holds for the key and may be served.
    #[inline]
    pub(crate) fn hit(&self, key: &K, hash: KeyHash) -> Option<Entry<K, V>> {
        let entries = &*self.entries;
        let entry = entries.in_memory(key, hash)?;
        let now = entries.common.now();
        (entries.is_current(&entry, now) && entries.common.freshness.is_live(now)).then(|| {
            entries.counters.hits.add_one(hash.0);
            entry
        })
    }
}
