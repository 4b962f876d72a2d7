//! What others did to the row.

use super::Slot;
use super::base::{Base, Preview};
use super::flight::LoadFence;
use super::pending::{Held, Hold};
use cache_sync_core::number::Version;
use cache_sync_core::wire::{Change, ChangeKind};

impl<K, V> Slot<K, V> {
    /// A committed change of this key, to be held back for so long at most if it may be the echo of a batch under way. Returns
    /// whether something else than before may be held now.
    pub(crate) fn change(&mut self, change: &Change, generation: u64, hold: Hold, schema: &impl Preview<V>) -> bool {
        let versioned = change.kind == ChangeKind::Versioned && change.version != Version::NONE;
        for started in self.flights.iter_mut().filter_map(|flight| flight.started.as_mut()) {
            started.fence = match started.fence {
                LoadFence::Open if versioned => LoadFence::AtLeast(change.version),
                LoadFence::AtLeast(version) if versioned => LoadFence::AtLeast(version.max(change.version)),
                _ => LoadFence::Shut,
            };
        }
        if change.version != Version::NONE && self.covers(change.version, versioned) {
            return false;
        }
        match &mut self.under_way {
            // Its own echo may come before its outcome: which of the two it is, the outcome will tell.
            Some(under_way) if change.version != Version::NONE => {
                let new = Held { version: change.version, foreign: false, hold };
                let held = under_way.held.get_or_insert(new);
                held.foreign |= !versioned && held.version != change.version;
                held.version = held.version.max(change.version);
            }
            Some(under_way) => {
                // What is held back already is older.
                let hold = under_way.held.map_or(hold, |held| held.hold);
                under_way.held = Some(Held { version: Version::NONE, foreign: true, hold });
                self.doubt(generation, Some(hold), schema);
            }
            None => self.doubt(generation, Some(hold), schema),
        }
        true
    }

    /// Whether the base is the state that the change made, or for versioned changes a later one.
    fn covers(&self, change: Version, versioned: bool) -> bool {
        match &self.base {
            Base::Known { version, .. } => *version == change || (versioned && *version > change),
            Base::Unknown => false,
        }
    }

    /// What is held may not be shown before it has been loaded again; what is being loaded may not be kept.
    pub(crate) fn invalidate(&mut self, generation: u64, schema: &impl Preview<V>) {
        for started in self.flights.iter_mut().filter_map(|flight| flight.started.as_mut()) {
            started.fence = LoadFence::Shut;
        }
        self.doubt(generation, None, schema);
    }

    /// Whatever is held back counts as somebody else's change. Says whether anything was.
    pub(crate) fn end_hold(&mut self, generation: u64, schema: &impl Preview<V>) -> bool {
        let hold = self.held_back().map(|held| held.hold);
        if hold.is_some() {
            self.doubt(generation, hold, schema);
        }
        hold.is_some()
    }

    /// What is known of the row is no longer so; it may be kept as what it was.
    fn doubt(&mut self, generation: u64, hold: Option<Hold>, schema: &impl Preview<V>) {
        let kept = match (&mut self.base, hold) {
            (Base::Known { generation: of, lifetime, .. }, Some(hold)) => {
                let replaced = hold.replaced(*of, generation, lifetime.until);
                replaced.map(|replaced| (*of, lifetime.until) = replaced)
            }
            _ => None,
        };
        if kept.is_none() {
            self.base = Base::Unknown;
        }
        self.show(generation, schema);
    }
}
