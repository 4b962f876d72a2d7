//! What loads from the primary have shown, so that a standby that is behind does not show something older.

use cache_sync_core::number::{KeyHash, Lsn};
use std::collections::{HashMap, HashSet};

/// How many keys are told apart; beyond that, the last of them counts for all.
const KEYS_MAX: usize = 10_000;

/// Up to where a standby must have replayed the log to show what was seen of a table.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    keys: HashMap<KeyHash, Lsn>,
    of_all: Lsn,
    /// How often somebody said that he knows better than the feed.
    invalidations: u64,
    /// Of those, the ones that a load from the primary has followed.
    followed: u64,
    /// Keys whose next load is of the primary.
    of_primary: HashSet<KeyHash>,
}

impl Seen {
    /// Somebody says that a row has changed: only the primary is sure to know.
    pub(crate) fn invalidate(&mut self) {
        self.invalidations += 1;
    }

    /// Somebody asks for more than the feed has told: the next load of the key that begins has to ask the primary.
    pub(crate) fn only_primary(&mut self, key: KeyHash) {
        match self.of_primary.len() < KEYS_MAX {
            true => drop(self.of_primary.insert(key)),
            false => self.invalidate(),
        }
    }

    /// Nobody wants that load any more.
    pub(crate) fn not_wanted(&mut self, key: KeyHash) {
        self.of_primary.remove(&key);
    }

    /// The invalidations so far, for [`Seen::note`].
    pub(crate) fn invalidations(&self) -> u64 {
        self.invalidations
    }

    /// Up to where the log must have been replayed to show what was seen of these keys, whose load begins now; `None` when only the primary
    /// will do.
    pub(crate) fn needed(&mut self, keys: impl Iterator<Item = KeyHash>) -> Option<Lsn> {
        let (mut needed, mut is_of_primary) = (self.of_all, self.invalidations != self.followed);
        for key in keys {
            needed = needed.max(self.keys.get(&key).copied().unwrap_or_default());
            is_of_primary |= self.of_primary.remove(&key);
        }
        (!is_of_primary).then_some(needed)
    }

    /// A load from the primary that began after `invalidations` has shown these keys as of `lsn` at the latest.
    pub(crate) fn note(&mut self, keys: impl Iterator<Item = KeyHash>, lsn: Lsn, invalidations: u64) {
        if self.followed < invalidations {
            self.followed = invalidations;
            self.of_all = self.of_all.max(lsn);
        }
        for key in keys {
            if self.keys.len() >= KEYS_MAX {
                self.of_all = self.keys.drain().map(|(_, lsn)| lsn).fold(self.of_all, Lsn::max);
            }
            // Of two loads under way the later one may be answered first.
            let seen = self.keys.entry(key).or_default();
            *seen = lsn.max(*seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(range: std::ops::Range<u64>) -> impl Iterator<Item = KeyHash> {
        range.map(KeyHash)
    }

    #[test]
    fn what_the_primary_has_shown_of_a_key_counts_for_that_key() {
        let mut seen = Seen::default();
        seen.note(keys(0..2), Lsn(5), 0);
        seen.note(keys(1..2), Lsn(7), 0);
        seen.note(keys(1..2), Lsn(6), 0);
        assert_eq!(seen.needed(keys(0..1)), Some(Lsn(5)));
        assert_eq!(seen.needed(keys(0..3)), Some(Lsn(7)));
        assert_eq!(seen.needed(keys(2..3)), Some(Lsn(0)));
        seen.note(keys(10..10 + KEYS_MAX as u64), Lsn(9), 0);
        assert!(seen.keys.len() <= KEYS_MAX);
        assert!(seen.needed(keys(2..3)) >= Some(Lsn(7)), "too many to tell apart");
    }

    #[test]
    fn after_an_invalidation_only_the_primary_will_do() {
        let mut seen = Seen::default();
        let before = seen.invalidations();
        seen.invalidate();
        seen.note(keys(0..1), Lsn(5), before);
        assert_eq!(seen.needed(keys(3..4)), None, "that load began before");
        seen.note(keys(0..1), Lsn(6), seen.invalidations());
        assert_eq!(seen.needed(keys(3..4)), Some(Lsn(6)));
    }
}
