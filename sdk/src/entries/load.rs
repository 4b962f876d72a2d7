//! What loads do: begin, bring something, fail.

use super::Entries;
use super::slot::Loaded;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::error::Error;
use cache_sync_core::number::KeyHash;
use std::time::Instant;

impl<K: Key, V: CacheValue> Entries<K, V> {
    /// The load of a key is about to be sent: its number, and the key.
    pub(crate) fn start_load(&self, hash: KeyHash) -> Option<(u64, K)> {
        let mut place = self.place(hash);
        let slot = place.slot()?;
        let flight = slot.start(self.generation())?;
        Some((flight, slot.key.clone()))
    }

    /// Takes what the load of this number brought. Returns whether it has to be asked again.
    pub(crate) fn loaded(&self, hash: KeyHash, flight: u64, loaded: &Loaded<V>) -> bool {
        let mut place = self.place(hash);
        let Some(slot) = place.slot() else { return false };
        let is_wanted_again = slot.loaded(flight, loaded, self.generation(), &self.schema);
        place.reflect(Instant::now());
        place.leave();
        is_wanted_again
    }

    /// Memory stays as it is: what is held may still be served stale.
    pub(crate) fn load_failed(&self, hash: KeyHash, flight: u64, error: &Error) {
        let mut place = self.place(hash);
        if let Some(slot) = place.slot() {
            slot.load_failed(flight, error);
        }
        place.leave();
    }
}
