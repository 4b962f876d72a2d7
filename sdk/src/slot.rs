//! The state of one key while something is under way for it: patches that Postgres does not have yet, or loads.
//!
//! Every step here is synchronous and knows no time but what it is told; the table holds the lock around it. Keys with
//! nothing under way have no slot: memory alone knows them.

use crate::receipt::Outcome;
use cache_sync_core::number::{Sequence, Version};
use cache_sync_core::outcome::{Record, Verdict};
use cache_sync_core::patch::{Kind, Patch};
use cache_sync_core::wire::{Change, ChangeKind};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a change that may be the echo of a batch under way is held back before the entry is doubted.
const HOLD_MAX: Duration = Duration::from_millis(250);

/// A row as a client sees it: `None` is its known absence.
pub(crate) type Value<V> = Option<Arc<V>>;

/// What a read is answered: the value shown, and the version of the row that it is based on.
pub(crate) type Answer<V> = (Value<V>, Version);

/// Somebody who waits for a load.
pub(crate) type Waiter<V> = oneshot::Sender<Result<Answer<V>, crate::Error>>;

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

/// Those who wait for a patch: mostly one.
pub(crate) type Receipts = SmallVec<[oneshot::Sender<Outcome>; 1]>;

/// A patch with those who wait for it.
pub(crate) struct Pending<V> {
    pub(crate) patch: Patch,
    /// What it makes where there is no row; none for an edit.
    pub(crate) value: Option<Value<V>>,
    /// It makes that value whatever the row is.
    pub(crate) determined: bool,
    pub(crate) receipts: Receipts,
    /// Its share of the buffer's bytes.
    pub(crate) size: usize,
}

impl<V> Pending<V> {
    /// The value that this patch makes where there is no row, once the later one is merged into it.
    fn value_with(&self, later: &Pending<V>, table: &impl Preview<V>) -> Option<Value<V>> {
        let over_this = match &self.value {
            Some(value @ Some(_)) if !later.determined => table.preview(&later.patch, value),
            _ => None,
        };
        over_this.or_else(|| later.value.clone())
    }
}

struct UnderWay<V> {
    sequence: Sequence,
    generation: u64,
    pending: Pending<V>,
    /// The base already contains it.
    included: bool,
    held: Option<Held>,
}

/// Changes that arrived while a batch was under way: its echo, or somebody else's.
#[derive(Clone, Copy)]
struct Held {
    version: Version,
    foreign: bool,
    since: Instant,
}

/// One load of the key.
struct Flight<V> {
    number: u64,
    waiters: SmallVec<[Waiter<V>; 1]>,
    started: Option<Started>,
}

struct Started {
    generation: u64,
    fence: Fence,
    /// A batch with this key was settled since; a load that does not contain it yet would take a write back.
    settled: Option<Sequence>,
}

/// What the changes since a load began allow it to do.
#[derive(Clone, Copy)]
enum Fence {
    Open,
    AtLeast(Version),
    Shut,
}

/// What a load brought for one key.
pub(crate) struct Loaded<V> {
    pub(crate) value: Value<V>,
    pub(crate) version: Version,
    pub(crate) expires: Option<Instant>,
    /// The last batch of this client that the statement's snapshot contained.
    pub(crate) last_seq: Sequence,
    /// The feed is live and speaks to the same server.
    pub(crate) trusted: bool,
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
    pub(crate) fn last_known(&self, generation: u64, table: &impl Preview<V>) -> Option<(Value<V>, u64)> {
        let (base, confirmed) = match &self.base {
            Base::Known { expires: Some(at), .. } if *at <= Instant::now() => (None, generation),
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

    // ---- writes ----

    /// Takes a write: into the patch that waits already if one patch can say both, else behind it. `shown` is what the
    /// key looks like with it. Returns by how many bytes the buffer grew, and whether a patch more waits.
    pub(crate) fn accept(
        &mut self,
        new: Pending<V>,
        shown: Option<Value<V>>,
        table: &impl Preview<V>,
    ) -> (isize, bool) {
        self.shown = shown;
        let size = new.size as isize;
        let Some(last) = self.queued.pop() else {
            self.queued.push(new);
            return (size, true);
        };
        let value = last.value_with(&new, table);
        let determined = new.determined || (last.determined && value.is_some());
        match table.coalesce(last.patch, new.patch) {
            Ok(patch) => {
                let (size, size_before) = (patch.size(), last.size);
                let mut receipts = last.receipts;
                receipts.extend(new.receipts);
                self.queued.push(Pending { patch, value, determined, receipts, size });
                (size as isize - size_before as isize, false)
            }
            Err(both) => {
                let (earlier, later) = *both;
                self.queued.push(Pending { patch: earlier, ..last });
                self.queued.push(Pending { patch: later, ..new });
                (size, true)
            }
        }
    }

    /// Freezes the first patch that waits, for the batch of this number. From here on it does not change until its
    /// outcome is known.
    pub(crate) fn freeze(&mut self, sequence: Sequence, generation: u64) -> Option<Patch> {
        debug_assert!(self.under_way.is_none(), "one batch is under way at a time");
        if self.queued.is_empty() {
            return None;
        }
        let pending = self.queued.remove(0);
        let patch = pending.patch.clone();
        self.under_way = Some(UnderWay { sequence, generation, pending, included: false, held: None });
        Some(patch)
    }

    /// Takes the outcome of the batch of this number; only the patch that it carried is done. `None` is an outcome that
    /// nobody can tell any more.
    pub(crate) fn settle(
        &mut self,
        sequence: Sequence,
        record: Option<&Record>,
        generation: u64,
        same_server: bool,
        table: &impl Preview<V>,
    ) -> Option<Pending<V>> {
        let under_way = self.under_way.take_if(|under_way| under_way.sequence == sequence)?;
        for flight in &mut self.flights {
            if let Some(started) = &mut flight.started {
                started.settled = Some(sequence);
            }
        }
        self.base = match record {
            Some(record) if same_server => self.base_after(&under_way, record, generation, table),
            _ => Base::Unknown,
        };
        self.show(generation, table);
        Some(under_way.pending)
    }

    /// The base moves on to an outcome's version only from exactly the version that the outcome replaced, and only if
    /// nothing else was heard meanwhile: else somebody else's change lies between, which only a load can bring.
    fn base_after(&self, done: &UnderWay<V>, record: &Record, generation: u64, table: &impl Preview<V>) -> Base<V> {
        let unheard = match done.held {
            None => true,
            Some(held) => !held.foreign && held.version <= record.version,
        };
        if done.generation != generation || !unheard || record.version == Version::NONE {
            return Base::Unknown;
        }
        let is_exact = record.exact && table.is_told(&done.pending.patch);
        let expires = self.expires();
        let known = |value| Base::Known { value, version: record.version, generation, expires };
        match (&self.base, record.verdict) {
            (Base::Known { version, generation: of, .. }, _) if *of == generation && *version == record.version => {
                self.base.clone()
            }
            (Base::Known { version, generation: of, .. }, _)
                if done.included && *of == generation && *version > record.version =>
            {
                self.base.clone()
            }
            (_, Verdict::Applied) if is_exact && done.pending.determined => {
                done.pending.value.clone().map_or(Base::Unknown, known)
            }
            (Base::Known { value, version, generation: of, .. }, Verdict::Applied)
                if is_exact && *of == generation && *version == record.replaced && !done.included =>
            {
                table.preview(&done.pending.patch, value).map_or(Base::Unknown, known)
            }
            _ => Base::Unknown,
        }
    }

    /// Nobody works for the key any more: whoever waits for a load or an outcome hears so.
    pub(crate) fn abandon(&mut self) {
        self.flights.clear();
        let under_way = self.under_way.as_mut().map(|under_way| &mut under_way.pending);
        under_way.into_iter().chain(&mut self.queued).for_each(|pending| pending.receipts.clear());
    }

    /// Every patch that waits, for a client that closes.
    pub(crate) fn unwritten(&mut self) -> Vec<Pending<V>> {
        let under_way = self.under_way.take().map(|under_way| under_way.pending);
        under_way.into_iter().chain(std::mem::take(&mut self.queued)).collect()
    }

    /// Lets somebody wait for everything that is pending now.
    pub(crate) fn await_pending(&mut self, mut receipt: impl FnMut() -> oneshot::Sender<Outcome>) {
        let under_way = self.under_way.as_mut().map(|under_way| &mut under_way.pending);
        for pending in under_way.into_iter().chain(&mut self.queued) {
            pending.receipts.push(receipt());
        }
    }

    // ---- loads ----

    /// Waits for the load that brings what is true from now on. Returns whether a new one has to be asked for.
    pub(crate) fn join(&mut self, number: u64, generation: u64, waiter: Waiter<V>) -> bool {
        let usable = |flight: &Flight<V>| match &flight.started {
            None => true,
            // What a gap hid, or a change of the whole table, shuts no fence.
            Some(started) => {
                started.generation == generation && matches!(started.fence, Fence::Open) && started.settled.is_none()
            }
        };
        match self.flights.last_mut().filter(|flight| usable(flight)) {
            Some(flight) => {
                flight.waiters.push(waiter);
                false
            }
            None => {
                self.flights.push(Flight { number, waiters: smallvec![waiter], started: None });
                true
            }
        }
    }

    /// The load's statement is about to be sent.
    pub(crate) fn start(&mut self, generation: u64) -> Option<u64> {
        let flight = self.flights.iter_mut().find(|flight| flight.started.is_none())?;
        flight.started = Some(Started { generation, fence: Fence::Open, settled: None });
        Some(flight.number)
    }

    /// Takes what a load brought. Returns whether it has to be asked again: it does not contain a write of ours that has
    /// been settled meanwhile.
    pub(crate) fn loaded(&mut self, number: u64, loaded: &Loaded<V>, generation: u64, table: &impl Preview<V>) -> bool {
        let Some(place) = self.flights.iter().position(|flight| flight.number == number) else { return false };
        let Some(started) = &self.flights[place].started else { return false };
        if started.settled.is_some_and(|settled| loaded.last_seq < settled) {
            self.flights[place].started = None;
            return true;
        }
        let fence_open = match started.fence {
            Fence::Open => true,
            Fence::AtLeast(version) => loaded.version != Version::NONE && loaded.version >= version,
            Fence::Shut => false,
        };
        let storable = fence_open && loaded.trusted && started.generation == generation;
        let base_is_newer = matches!(&self.base, Base::Known { version, generation: of, .. }
            if *of == generation && loaded.version != Version::NONE && *version > loaded.version);
        let answer = match &self.shown {
            Some(shown) if base_is_newer => (shown.clone(), self.base_version()),
            _ => (self.over(loaded, table), loaded.version),
        };
        if storable && !base_is_newer {
            let (version, expires) = (loaded.version, loaded.expires);
            self.base = Base::Known { value: loaded.value.clone(), version, generation, expires };
            if let Some(under_way) = &mut self.under_way {
                under_way.included = under_way.sequence <= loaded.last_seq;
                under_way.held = None;
                under_way.generation = generation;
            }
            self.show(generation, table);
        }
        // Whoever waited for an older load is answered too: a later one must not be followed by an older answer.
        for flight in self.flights.drain(..=place) {
            flight.waiters.into_iter().for_each(|waiter| drop(waiter.send(Ok(answer.clone()))));
        }
        false
    }

    /// The load failed; only those who waited for this one hear it.
    pub(crate) fn load_failed(&mut self, number: u64, error: &crate::Error) {
        if let Some(place) = self.flights.iter().position(|flight| flight.number == number) {
            let flight = self.flights.remove(place);
            flight.waiters.into_iter().for_each(|waiter| drop(waiter.send(Err(error.clone()))));
        }
    }

    // ---- changes ----

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

    // ---- what is shown ----

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

    /// The loaded row with the patches that it does not contain. A patch that cannot be previewed leaves the row as it
    /// is: Postgres will have the say.
    fn over(&self, loaded: &Loaded<V>, table: &impl Preview<V>) -> Value<V> {
        let under_way = self
            .under_way
            .as_ref()
            .filter(|under_way| under_way.sequence > loaded.last_seq)
            .map(|under_way| &under_way.pending);
        let pending = under_way.into_iter().chain(&self.queued);
        apply_all(Some(loaded.value.clone()), pending, table).unwrap_or_else(|| loaded.value.clone())
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
