//! The state of one key while something is under way for it: patches that Postgres does not have yet, or loads.
//!
//! Every step here is synchronous and knows no time but what it is told; the table holds the lock around it. Keys with
//! nothing under way have no slot: memory alone knows them.
//!
//! ```text
//! load   who joins which load, and whether what it brings may be kept
//! write  how patches wait, are frozen into a batch, and are settled
//! ```

mod load;
mod write;

pub(crate) use load::Loaded;
pub(crate) use write::Pending;

use cache_sync_core::number::Version;
use cache_sync_core::patch::{Kind, Patch};
use cache_sync_core::wire::{Change, ChangeKind};
use load::{Fence, Flight};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::{Duration, Instant};
use write::UnderWay;

/// How long a change that may be the echo of a batch under way is held back before the entry is doubted.
const HOLD_MAX: Duration = Duration::from_millis(250);

/// A row as a client sees it: `None` is its known absence.
pub(crate) type Value<V> = Option<Arc<V>>;

/// What a read is answered: the value shown, and the version of the row that it is based on.
pub(crate) type Answer<V> = (Value<V>, Version);

/// What a load or an outcome confirmed of the row, without the patches that are pending.
#[derive(Debug)]
pub(crate) enum Base<V> {
    Unknown,
    Known {
        value: Value<V>,
        version: Version,
        generation: u64,
        /// When the row expires; then it has to be loaded again.
        expires: Option<Instant>,
    },
}

impl<V> Clone for Base<V> {
    fn clone(&self) -> Base<V> {
        match self {
            Base::Unknown => Base::Unknown,
            Base::Known { value, version, generation, expires } => {
                Base::Known { value: value.clone(), version: *version, generation: *generation, expires: *expires }
            }
        }
    }
}

/// How a patch changes what is shown. The slot decides when; only the table knows how.
pub(crate) trait Preview<V> {
    /// The value with the patch, or `None` when that cannot be told here.
    fn preview(&self, patch: &Patch, value: &Value<V>) -> Option<Value<V>>;
    /// Whether the row can be told from what it was and the patch, where Postgres says that nothing coerced it.
    fn is_told(&self, patch: &Patch) -> bool;
    /// The later patch merged into the earlier one.
    fn coalesce(&self, earlier: Patch, later: Patch) -> Result<Patch, Box<(Patch, Patch)>>;
}

/// Changes that arrived while a batch was under way: its echo, or somebody else's.
#[derive(Clone, Copy)]
struct Held {
    version: Version,
    foreign: bool,
    since: Instant,
}

pub(crate) struct Slot<K, V> {
    pub(crate) key: K,
    base: Base<V>,
    /// Base and patches, as far as they can be told; what memory holds for this key.
    shown: Option<Value<V>>,
    under_way: Option<UnderWay<V>>,
    /// The patches that wait for their batch, in the order of their acceptance: mostly one.
    queued: SmallVec<[Pending<V>; 1]>,
    flights: Vec<Flight<V>>,
}

impl<K, V> Slot<K, V> {
    pub(crate) fn new(key: K, base: Base<V>, generation: u64) -> Slot<K, V> {
        let mut slot = Slot { key, base, shown: None, under_way: None, queued: SmallVec::new(), flights: Vec::new() };
        slot.shown = slot.fresh_base(generation);
        slot
    }

    /// Nothing is under way any more; memory alone can go on.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.queued.is_empty() && self.flights.is_empty()
    }

    /// What may be shown now, if anything.
    pub(crate) fn shown(&self, generation: u64, now: Instant) -> Option<Value<V>> {
        let held_too_long = self.held().is_some_and(|held| now.duration_since(held.since) >= HOLD_MAX);
        let base_doubted = matches!(self.base, Base::Known { generation: of, expires, .. }
            if of != generation || expires.is_some_and(|at| at <= now));
        let whole = self.pending().last().is_some_and(|pending| pending.determined);
        if !whole && (held_too_long || base_doubted) {
            return None;
        }
        self.shown.clone()
    }

    /// What memory may hold: nothing while a change is held back, so that every read comes by here.
    pub(crate) fn entry(&self, generation: u64, now: Instant) -> Option<(Value<V>, Version, Option<Instant>)> {
        match self.held() {
            Some(_) => None,
            None => self.shown(generation, now).map(|value| (value, self.base_version(), self.expires())),
        }
    }

    fn expires(&self) -> Option<Instant> {
        match &self.base {
            Base::Known { expires, .. } => *expires,
            Base::Unknown => None,
        }
    }

    /// The last value known, however doubtful, and the generation in which it was confirmed.
    pub(crate) fn last_known(&self, generation: u64, now: Instant, table: &impl Preview<V>) -> Option<(Value<V>, u64)> {
        let (base, confirmed) = match &self.base {
            Base::Known { expires: Some(at), .. } if *at <= now => (None, generation),
            Base::Known { value, generation: of, .. } => (Some(value.clone()), *of),
            Base::Unknown => (None, generation),
        };
        apply_all(base, self.pending(), table).map(|value| (value, confirmed))
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether a load or an outcome has shown that the row exists, and none that it is gone. A row that expires may be gone
    /// by the time that the write arrives, which then must create it.
    pub(crate) fn has_seen_row(&self) -> bool {
        let deleted_here = self.pending().any(|pending| pending.patch.kind == Kind::Delete);
        !deleted_here && matches!(&self.base, Base::Known { value: Some(_), expires: None, .. })
    }

    pub(crate) fn base_version(&self) -> Version {
        match &self.base {
            Base::Known { version, .. } => *version,
            Base::Unknown => Version::NONE,
        }
    }

    /// A committed change of this key. Returns whether something else than before may be held now.
    pub(crate) fn change(&mut self, change: &Change, generation: u64, now: Instant, table: &impl Preview<V>) -> bool {
        let versioned = change.kind == ChangeKind::Versioned && change.version != Version::NONE;
        for started in self.flights.iter_mut().filter_map(|flight| flight.started.as_mut()) {
            started.fence = match started.fence {
                Fence::Open if versioned => Fence::AtLeast(change.version),
                Fence::AtLeast(version) if versioned => Fence::AtLeast(version.max(change.version)),
                _ => Fence::Shut,
            };
        }
        if change.version != Version::NONE && self.covers(change.version, versioned) {
            return false;
        }
        match &mut self.under_way {
            // Its own echo may come before its outcome: which of the two it is, the outcome will tell.
            Some(under_way) if change.version != Version::NONE => {
                let held = under_way.held.get_or_insert(Held { version: change.version, foreign: false, since: now });
                held.foreign |= !versioned && held.version != change.version;
                held.version = held.version.max(change.version);
            }
            Some(under_way) => {
                under_way.held = Some(Held { version: Version::NONE, foreign: true, since: now });
                self.doubt(generation, table);
            }
            None => self.doubt(generation, table),
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
    pub(crate) fn invalidate(&mut self, generation: u64, table: &impl Preview<V>) {
        for started in self.flights.iter_mut().filter_map(|flight| flight.started.as_mut()) {
            started.fence = Fence::Shut;
        }
        self.doubt(generation, table);
    }

    fn doubt(&mut self, generation: u64, table: &impl Preview<V>) {
        self.base = Base::Unknown;
        self.show(generation, table);
    }

    fn held(&self) -> Option<&Held> {
        self.under_way.as_ref()?.held.as_ref()
    }

    fn fresh_base(&self, generation: u64) -> Option<Value<V>> {
        match &self.base {
            Base::Known { value, generation: of, .. } if *of == generation => Some(value.clone()),
            _ => None,
        }
    }

    fn pending(&self) -> impl Iterator<Item = &Pending<V>> {
        let under_way =
            self.under_way.as_ref().filter(|under_way| !under_way.included).map(|under_way| &under_way.pending);
        under_way.into_iter().chain(&self.queued)
    }

    fn show(&mut self, generation: u64, table: &impl Preview<V>) {
        self.shown = apply_all(self.fresh_base(generation), self.pending(), table);
    }
}

fn apply_all<'a, V: 'a>(
    base: Option<Value<V>>,
    pending: impl Iterator<Item = &'a Pending<V>>,
    table: &impl Preview<V>,
) -> Option<Value<V>> {
    pending.fold(base, |value, pending| match (value, &pending.value) {
        (_, Some(whole)) if pending.determined => Some(whole.clone()),
        (Some(None), Some(created)) if matches!(pending.patch.kind, Kind::Put { seen: false } | Kind::Replace) => {
            Some(created.clone())
        }
        (value, _) => table.preview(&pending.patch, &value?),
    })
}

#[cfg(test)]
mod tests;
