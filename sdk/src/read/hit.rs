//! The hit path: no lock, no allocation, no statement, and nothing that is written by more than one thread.

use super::Reads;
use crate::codec::key::{Key, LookUp};
use crate::codec::value::CacheValue;
use crate::entries::Entry;
use cache_sync_core::number::KeyHash;

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// Shows what memory holds for the key, if it may be served.
    #[inline]
    pub(crate) fn hit<Q: ?Sized, R>(&self, by: &Q, hash: KeyHash, look: impl FnOnce(&Entry<K, V>) -> R) -> Option<R>
    where
        K: LookUp<Q>,
    {
        self.entries.read(by, hash, look)
    }
}
