//! What a mode means for what is held, and how a cache goes back by itself.

use super::rollout::Found;
use super::{Entries, Entry};
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::config::{Mode, Stance};
use cache_sync_core::number::KeyHash;
use std::sync::atomic::Ordering;

impl<K: Key, V: CacheValue> Entries<K, V> {
    pub(crate) fn mode(&self) -> Mode {
        self.rollout.mode()
    }

    /// What the cache does for this key.
    pub(crate) fn stance(&self, hash: KeyHash) -> Stance {
        self.mode().stance(hash)
    }

    pub(crate) fn is_serving(&self, hash: KeyHash) -> bool {
        self.stance(hash) == Stance::Serving
    }

    /// Whether memory would show a change that was made here meanwhile to who looks at the row in order to change it.
    pub(crate) fn shows_changes(&self, hash: KeyHash) -> bool {
        self.is_serving(hash) && !self.memory.holds_nothing() && self.common.is_live()
    }

    /// Whether what is loaded now may be compared with Postgres some time: only then it is worth a digest.
    pub(crate) fn is_compared(&self) -> bool {
        self.rollout.verifies || matches!(self.mode(), Mode::Shadow | Mode::Canary(_))
    }

    /// Whether it has gone back by itself, and nobody has asked for another mode since.
    pub(crate) fn has_retreated(&self) -> bool {
        lock(&self.rollout.found).has_retreated
    }

    /// Who asks for the same again, as one does who goes by a table of settings, undoes no retreat.
    pub(crate) fn set_mode(&self, mode: Mode) {
        let mut found = lock(&self.rollout.found);
        if found.asked == mode {
            return;
        }
        (found.asked, found.violations, found.has_retreated) = (mode, 0, false);
        let before = self.go_to(mode, &mut found);
        if before != mode {
            let table = self.schema.display_name();
            tracing::info!(table, ?before, now = ?mode, "the mode of a cache was changed");
        }
    }

    /// Verification has found what should not have been held, so often.
    pub(crate) fn note_violations(&self, violations: u64) {
        self.counters.violations.add(violations);
        let mut found = lock(&self.rollout.found);
        found.violations += violations;
        let is_enough = self.rollout.retreat_after.is_some_and(|after| found.violations >= after);
        let before = self.mode();
        if !is_enough || !matches!(before, Mode::On | Mode::Canary(_)) {
            return;
        }
        found.has_retreated = true;
        self.counters.retreats.add(1);
        self.go_to(Mode::Shadow, &mut found);
        let (table, violations) = (self.schema.display_name(), found.violations);
        tracing::warn!(table, ?before, violations, "the cache has gone back to Shadow: every read asks Postgres");
    }

    /// Somebody is about to be shown something else than what is held of the key, which must not be served after that. It goes on being compared,
    /// unless it may be served, or something is under way for the key that was made of it.
    pub(crate) fn overtake(&self, hash: KeyHash) {
        let mut found = lock(&self.rollout.found);
        let mut place = self.place(hash);
        if self.is_serving(hash) || place.slot().is_some() {
            drop(place);
            return self.invalidate(hash);
        }
        found.has_overtaken |= self.memory.peek(hash, Entry::overtake).is_some();
    }

    /// Returns what it was before.
    fn go_to(&self, mode: Mode, found: &mut Found) -> Mode {
        let before = self.mode();
        if matches!(mode, Mode::On | Mode::Canary(_)) {
            // Before anything of it is served: nobody is shown what is older than what he knows.
            self.drop_overtaken(found);
        }
        self.rollout.mode.store(mode.packed(), Ordering::Release);
        // Where only some keys are served, hits look at their keys by themselves.
        self.generations.serve(mode == Mode::On);
        if mode == Mode::Off {
            // Whoever holds a shard now may still hold an entry by what was; nobody who takes it after that does.
            self.shards.each_shard(|_| ());
            for hash in self.memory.hashes_of(|_| true) {
                let _place = self.place(hash);
                self.memory.drop_entry(hash);
            }
        }
        before
    }

    /// One pass through all that is held, where there may be any.
    fn drop_overtaken(&self, found: &mut Found) {
        if std::mem::take(&mut found.has_overtaken) {
            let overtaken = self.memory.hashes_of(Entry::is_overtaken);
            overtaken.into_iter().for_each(|hash| self.invalidate(hash));
        }
    }
}
