//! From the buffer into batches.

use super::Writes;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use cache_sync_core::number::{KeyHash, Sequence};
use cache_sync_core::patch::RowPatch;

/// A batch that has reached this many bytes of patches takes no more: what Postgres takes in one message is bounded.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// A patch frozen for a batch.
pub(super) struct Frozen<K> {
    pub(super) hash: KeyHash,
    pub(super) key: K,
    pub(super) patch: RowPatch,
}

impl<K: Key, V: CacheValue> Writes<K, V> {
    /// Freezes patches for the batch of this number, in the order of their acceptance, as many as it takes.
    pub(super) fn freeze(&self, sequence: Sequence) -> Vec<Frozen<K>> {
        let (hashes, urgent) = lock(&self.line).take(self.limits.batch_entries_max);
        let mut again = Vec::new();
        let mut bytes = 0;
        let mut frozen = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let mut place = self.entries.place(hash);
            let Some(slot) = place.slot() else { continue };
            if slot.is_under_way() || bytes >= BATCH_BYTES_MAX {
                again.push(hash);
                continue;
            }
            if let Some(patch) = slot.freeze(sequence, self.entries.generation()) {
                bytes += patch.size();
                frozen.push(Frozen { hash, key: slot.key.clone(), patch });
            }
        }
        lock(&self.line).give_back(again, urgent);
        frozen
    }
}
