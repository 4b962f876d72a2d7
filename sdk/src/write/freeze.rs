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
    /// Freezes a patch of each of up to `max` keys for the batch of this number, in the order in which they stand in line, as many as
    /// it takes.
    pub(super) fn freeze(&self, sequence: Sequence, max: usize) -> Vec<Frozen<K>> {
        let hashes = lock(&self.line).take(max);
        self.freeze_all(sequence, hashes)
    }

    /// Freezes a patch of each of up to `max` keys that had been set aside.
    pub(super) fn freeze_aside(&self, sequence: Sequence, max: usize) -> Vec<Frozen<K>> {
        let hashes = lock(&self.line).take_aside(max);
        self.freeze_all(sequence, hashes)
    }

    /// The batch was undone before it was applied: its patches wait again, in line or aside.
    pub(super) fn thaw(&self, sequence: Sequence, keys: &[KeyHash], aside: bool) {
        self.entries.thaw(keys, sequence);
        let mut line = lock(&self.line);
        match aside {
            true => keys.iter().for_each(|key| line.set_aside(*key)),
            false => line.give_back(keys.to_vec()),
        }
    }

    fn freeze_all(&self, sequence: Sequence, hashes: Vec<KeyHash>) -> Vec<Frozen<K>> {
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
        lock(&self.line).give_back(again);
        frozen
    }
}
