//! The hit path: no lock, no allocation, no statement, and nothing that is written by more than one thread; save where an entry is to be
//! loaded ahead of its end, or the hit is one that is compared with Postgres.

use super::{Freshness, Lookup, Reads};
use crate::codec::key::{Key, LookUp};
use crate::codec::value::CacheValue;
use crate::entries::{Claim, Entry};
use cache_sync_core::number::KeyHash;

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// Shows what memory holds for the key, if it may be served.
    #[inline]
    pub(crate) fn hit<Q: ?Sized, R>(&self, by: &Q, hash: KeyHash, look: impl FnOnce(&Entry<K, V>) -> R) -> Option<R>
    where
        K: LookUp<Q>,
    {
        self.hit_where(by, hash, |entry| Some(look(entry)))
    }

    /// What memory holds for the key, if it is fresh enough.
    pub(crate) fn hit_if<Q: ?Sized>(&self, by: &Q, hash: KeyHash, freshness: Freshness) -> Option<Lookup<V>>
    where
        K: LookUp<Q>,
    {
        let common = &self.entries.common;
        let (in_step_at, now) = (common.freshness.in_step_at(), common.now());
        let answer =
            self.hit_where(by, hash, |entry| freshness.takes(entry.version, in_step_at, now).then(|| entry.answer()));
        answer.map(|answer| self.confirmed(answer, in_step_at))
    }

    /// The same, for somebody who must not cause a load.
    pub(crate) fn held<Q: ?Sized>(&self, by: &Q, hash: KeyHash) -> Option<Lookup<V>>
    where
        K: LookUp<Q>,
    {
        let in_step_at = self.entries.common.freshness.in_step_at();
        let answer = self.entries.read(by, hash, |entry| Some(entry.answer()));
        answer.map(|answer| self.confirmed(answer, in_step_at))
    }

    #[inline]
    fn hit_where<Q: ?Sized, R>(&self, by: &Q, hash: KeyHash, look: impl FnOnce(&Entry<K, V>) -> Option<R>) -> Option<R>
    where
        K: LookUp<Q>,
    {
        if !self.terms.looks_at_hits {
            return self.entries.read(by, hash, look);
        }
        let (mut is_due, mut claim) = (None, None);
        let found = self.entries.read(by, hash, |entry| {
            is_due = self.is_close_to_its_end(entry).then(|| entry.key().clone());
            let found = look(entry)?;
            claim = self.terms.verified.filter(|sample| sample.takes()).map(|_| Claim::of(entry, hash));
            Some(found)
        });
        if let Some(key) = is_due {
            let _ = self.refresh(&key, hash);
        }
        claim.into_iter().for_each(|claim| self.verify(claim));
        found
    }

    fn is_close_to_its_end(&self, entry: &Entry<K, V>) -> bool {
        let Some(ahead) = self.terms.refresh_ahead else { return false };
        let lifetime = entry.lifetime();
        let is_to_last = entry.value.is_some() && !lifetime.row_expires;
        is_to_last && lifetime.is_over(self.entries.common.latest() + ahead)
    }
}
