//! What loads do: begin, bring something, fail.

use super::Entries;
use super::slot::{Loaded, Next};
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::time::Moment;
use crate::error::Error;
use cache_sync_core::hlc;
use cache_sync_core::number::{KeyHash, Version};

impl<K: Key, V: CacheValue> Entries<K, V> {
    /// The load of a key is about to be sent, after `now`: its number, and the key.
    pub(crate) fn start_load(&self, hash: KeyHash, now: Moment) -> Option<(u64, K)> {
        let mut place = self.place(hash);
        let slot = place.slot()?;
        let flight = slot.start(self.generation(), now)?;
        Some((flight, slot.key.clone()))
    }

    /// Takes what the load of this number brought.
    #[must_use]
    pub(crate) fn loaded(&self, hash: KeyHash, flight: u64, mut loaded: Loaded<V>) -> Next {
        let mut place = self.place(hash);
        let now = self.common.now();
        loaded.version = self.believable(loaded.version, now);
        let Some(slot) = place.slot() else { return Next::Nothing };
        let arrived = slot.loaded(flight, &loaded, self.generation(), &self.schema);
        place.reflect(now);
        self.note_load(hash, arrived.for_a_reader);
        place.leave();
        arrived.tell()
    }

    /// A version far ahead of the server's clock was written by hand, and says nothing about order.
    pub(crate) fn believable(&self, version: Version, now: Moment) -> Version {
        let is_plausible = || hlc::is_plausible(version.0, self.common.clock.hlc(now).0);
        if version == Version::NONE || is_plausible() { version } else { Version::NONE }
    }

    /// Memory stays as it is: what is held may still be served stale.
    pub(crate) fn load_failed(&self, hash: KeyHash, flight: u64, error: &Error) {
        let mut place = self.place(hash);
        if let Some(slot) = place.slot() {
            slot.load_failed(flight, error);
        }
        self.note_load(hash, false);
        place.leave();
    }

    /// A load of the key has ended, for a reader or for nobody.
    pub(super) fn note_load(&self, hash: KeyHash, for_a_reader: bool) {
        if self.refreshes {
            self.memory.peek(hash, |entry| entry.stay.was_loaded(for_a_reader));
        }
    }
}
