//! Loads for which nobody waits: ahead of an entry's end, after a change, and while readers are served what the change has replaced.

use super::miss::{Request, Takes};
use super::{Freshness, Lookup, Reads};
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::time::Moment;
use crate::entries::{Entry, Slot};
use cache_sync_core::number::KeyHash;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// For so long nothing is loaded by itself after a load has failed.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);
/// Where so many keys wait for a load, or half of what may, what nobody waits for is not added to them.
const WAITING_MAX: usize = 10_000;

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// What was held before the row changed, for who would have to wait for the load of what it is now, if the cache serves that.
    pub(super) fn meanwhile(
        &self,
        key: &K,
        hash: KeyHash,
        request: Request,
        freshness: Freshness,
    ) -> Option<Lookup<V>> {
        let is_taken = freshness == Freshness::Cached && request.takes_replaced();
        let max = self.terms.replaced_max.filter(|_| is_taken)?;
        if self.entries.check_usable().is_err() {
            return None;
        }
        // What comes between the two looks is newer.
        let shown = self.shown(&mut self.entries.place(hash), key, hash, freshness, self.entries.common.now());
        shown.or_else(|| self.stale(key, hash, max, Takes::Replaced).filter(|_| self.refresh(key, hash)))
    }

    /// Has the key loaded again, unless that is under way; whether it is now. Nobody waits for it.
    #[cold]
    pub(crate) fn refresh(&self, key: &K, hash: KeyHash) -> bool {
        let entries = &*self.entries;
        if self.is_refreshing_paused() || self.store.breaker.is_away() {
            return false;
        }
        let mut place = entries.place(hash);
        let is_anothers = |slot: &mut Slot<K, V>| slot.key != *key;
        if entries.check_usable().is_err() || place.slot().is_some_and(is_anothers) {
            return false;
        }
        if place.slot().is_some_and(|slot| slot.is_loading()) {
            return true;
        }
        if self.wanted.is_full((self.terms.waiting_keys_max / 2).clamp(1, WAITING_MAX)) {
            return false;
        }
        let (sender, _) = oneshot::channel();
        let next = self.flights.fetch_add(1, Ordering::Relaxed);
        let number = place.slot_or_new(key).join(next, entries.generation(), Some(entries.common.now()), sender);
        self.wanted.push(number, hash, || None);
        true
    }

    /// Whether a load has failed just now.
    pub(super) fn is_refreshing_paused(&self) -> bool {
        self.entries.common.now() < Moment::from_nanos(self.refreshing_paused.load(Ordering::Relaxed))
    }

    /// Whether what was overtaken is to be loaded once more.
    pub(super) fn is_worth_it(&self, key: &K, hash: KeyHash) -> bool {
        self.terms.refresh_on_change && self.entries.peek(key, hash, Entry::is_read) == Some(true)
    }

    /// A load has failed: what nobody waits for can wait.
    pub(super) fn pause_refreshing(&self) {
        let until = self.entries.common.now() + REFRESH_PAUSE;
        self.refreshing_paused.store(until.nanos(), Ordering::Relaxed);
    }
}
