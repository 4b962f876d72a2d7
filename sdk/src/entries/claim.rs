//! What memory shows of a key at some moment, to be held against what Postgres says of it later.

use super::Entries;
use super::entry::Entry;
use crate::codec::caught::let_go;
use crate::codec::key::Key;
use crate::codec::value::{CacheValue, Value};
use cache_sync_core::number::{KeyHash, Version};
use std::sync::Arc;

/// What memory shows of a key at some moment.
#[derive(Debug)]
pub(crate) struct Claim<K, V> {
    pub(crate) key: K,
    pub(crate) hash: KeyHash,
    value: Option<Arc<V>>,
    pub(crate) version: Version,
    generation: u64,
    mark: u32,
}

impl<K, V> Drop for Claim<K, V> {
    fn drop(&mut self) {
        self.value.take().into_iter().for_each(let_go);
    }
}

/// What Postgres says to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Same,
    Other,
    /// They cannot be compared.
    Nothing,
}

/// What has become of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Memory shows the very same, and it may be served.
    Stands,
    /// It shows something else, or nothing.
    Gone,
    /// A write of this client waits, or is under way.
    OwnWrite,
}

impl<K: Clone, V> Claim<K, V> {
    pub(crate) fn of(entry: &Entry<K, V>, hash: KeyHash) -> Claim<K, V> {
        let (key, value) = (entry.key().clone(), entry.value.clone());
        Claim { key, hash, value, version: entry.version, generation: entry.generation, mark: entry.mark() }
    }

    /// Holds it against the row as it was loaded. Of a table whose rows expire by the server's wall clock, which may be set, a row may come and
    /// go without a change.
    pub(crate) fn against(&self, row: &Value<V>, version: Version, rows_expire: bool) -> Says {
        let says = |is_same| if is_same { Says::Same } else { Says::Other };
        match (&self.value, row) {
            (None, None) => Says::Same,
            (None, Some(_)) | (Some(_), None) if rows_expire => Says::Nothing,
            (None, Some(_)) | (Some(_), None) => Says::Other,
            // Both as Postgres sent them, so that no type of the user's has a say.
            (Some(_), Some(row)) if self.mark != 0 && row.digest != 0 => says(self.mark == row.digest),
            (Some(_), Some(_)) if self.version != Version::NONE && version != Version::NONE => {
                says(self.version == version)
            }
            (Some(_), Some(_)) => Says::Nothing,
        }
    }

    /// Whether this is what it was made of. A row that was loaded again lies elsewhere, and an absence has another mark.
    fn is_of(&self, entry: &Entry<K, V>) -> bool {
        let is_same = match (&self.value, &entry.value) {
            (Some(claimed), Some(held)) => Arc::ptr_eq(claimed, held),
            (None, None) => true,
            _ => false,
        };
        is_same && (self.version, self.generation, self.mark) == (entry.version, entry.generation, entry.mark())
    }
}

impl<K: Key, V: CacheValue> Entries<K, V> {
    /// What a read of the key would be served if the cache served it; it counts as one for what stays. None too while a write of it waits,
    /// which shows in what is loaded as well.
    pub(crate) fn would_serve(&self, key: &K, hash: KeyHash) -> Option<Claim<K, V>> {
        let mut place = self.place(hash);
        if place.slot().is_some_and(|slot| slot.has_pending()) {
            return None;
        }
        let now = self.common.now();
        let claim = self.peek(key, hash, |entry| {
            let is_good = self.is_current(entry, now) && self.common.freshness.is_live(now);
            is_good.then(|| {
                entry.set_used(now);
                entry.stay.has_begun();
                Claim::of(entry, hash)
            })
        });
        drop(place);
        let claim = claim.flatten()?;
        self.memory.tell(hash);
        Some(claim)
    }

    /// What has become of what memory showed.
    pub(crate) fn standing(&self, claim: &Claim<K, V>) -> Standing {
        let mut place = self.place(claim.hash);
        if place.slot().is_some_and(|slot| slot.has_pending()) {
            return Standing::OwnWrite;
        }
        let now = self.common.now();
        let stands = self.peek(&claim.key, claim.hash, |entry| claim.is_of(entry) && self.is_current(entry, now));
        match stands == Some(true) && self.common.freshness.is_live(now) && !self.is_retired() {
            true => Standing::Stands,
            false => Standing::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::value::Row;

    const VERSIONED: Version = Version(7);

    impl<K, V> Claim<K, V> {
        /// Of a row that is not there.
        pub(crate) fn absent(key: K, hash: KeyHash) -> Claim<K, V> {
            Claim { key, hash, value: None, version: Version::NONE, generation: 1, mark: 1 }
        }
    }

    fn claim(value: Option<i64>, version: Version, mark: u32) -> Claim<i64, i64> {
        Claim { key: 1, hash: KeyHash(1), value: value.map(Arc::new), version, generation: 1, mark }
    }

    fn row(digest: u32) -> Value<i64> {
        Some(Row { digest, ..Row::new(1, 1) })
    }

    #[test]
    fn only_what_both_sides_know_is_compared() {
        for (claim, loaded, version, expected) in [
            (claim(None, Version::NONE, 9), None, Version::NONE, Says::Same),
            (claim(None, Version::NONE, 9), row(3), VERSIONED, Says::Other),
            (claim(Some(1), VERSIONED, 3), None, Version::NONE, Says::Other),
            // The bytes that Postgres sent decide.
            (claim(Some(1), VERSIONED, 3), row(3), Version(8), Says::Same),
            (claim(Some(1), VERSIONED, 3), row(4), VERSIONED, Says::Other),
            // One's own write was not sent by Postgres.
            (claim(Some(1), VERSIONED, 0), row(4), VERSIONED, Says::Same),
            (claim(Some(1), VERSIONED, 0), row(4), Version(8), Says::Other),
            (claim(Some(1), Version::NONE, 0), row(4), Version::NONE, Says::Nothing),
        ] {
            assert_eq!(claim.against(&loaded, version, false), expected, "{claim:?} {loaded:?}");
        }
    }

    #[test]
    fn a_row_that_expires_may_come_and_go() {
        assert_eq!(claim(None, Version::NONE, 9).against(&row(3), VERSIONED, true), Says::Nothing);
        assert_eq!(claim(Some(1), VERSIONED, 3).against(&None, Version::NONE, true), Says::Nothing);
        assert_eq!(claim(Some(1), VERSIONED, 3).against(&row(4), VERSIONED, true), Says::Other);
    }
}
