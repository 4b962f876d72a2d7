//! Loads: who joins which, and whether what one brings may be kept.

use super::Slot;
use super::base::{Base, Preview};
use super::flight::{Flight, LoadFence, Started, Waiter, Waiters};
use super::pending::apply_all;
use crate::codec::value::Value;
use crate::common::time::Moment;
use crate::entries::entry::{Answer, Lifetime};
use crate::entries::generation::unheard;
use crate::error::Error;
use cache_sync_core::number::{Sequence, Version};
use smallvec::smallvec;

/// What a load brought for one key.
pub(crate) struct Loaded<V> {
    pub(crate) value: Value<V>,
    pub(crate) version: Version,
    pub(crate) lifetime: Lifetime,
    /// The last batch of this client that the statement's snapshot contained.
    pub(crate) last_seq: Sequence,
    /// The feed is live and speaks to the same server.
    pub(crate) trusted: bool,
    /// Everything that was committed before is in it.
    pub(crate) as_of: Moment,
}

/// What there is to do after a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    /// The same has to be asked again.
    Again,
    /// The row has changed meanwhile: whoever reads it next has to load it again.
    Overtaken,
}

/// What comes of what a load brought.
#[must_use]
pub(crate) struct Arrived<V> {
    /// It does not contain a write of ours that has been settled meanwhile: it has to be asked again.
    is_wanted_again: bool,
    /// The row has changed while it was under way, and may not be kept.
    is_overtaken: bool,
    /// Somebody has waited for it.
    pub(crate) for_a_reader: bool,
    answered: Option<(Answer<V>, Waiters<V>)>,
}

impl<V> Arrived<V> {
    fn nothing() -> Arrived<V> {
        Arrived { is_wanted_again: false, is_overtaken: false, for_a_reader: false, answered: None }
    }

    /// Tells those who waited; memory must show it by then, where hits look without a lock.
    pub(crate) fn tell(self) -> Next {
        if let Some((answer, waiters)) = self.answered {
            waiters.into_iter().for_each(|waiter| drop(waiter.send(Ok(answer.clone()))));
        }
        match self {
            Arrived { is_wanted_again: true, .. } => Next::Again,
            Arrived { is_overtaken: true, .. } => Next::Overtaken,
            _ => Next::Nothing,
        }
    }
}

impl<K, V> Slot<K, V> {
    /// Waits for the load that brings what is true from now on, or for one that began at `since` or later, if changes are heard
    /// (else there is no such). Returns the number of the load; it is the one given if a new one has to be asked for.
    pub(crate) fn join(&mut self, number: u64, generation: u64, since: Option<Moment>, waiter: Waiter<V>) -> u64 {
        let usable = |flight: &Flight<V>| match &flight.started {
            None => true,
            // What a gap hid, or a change of the whole table, shuts no fence.
            Some(started) => {
                started.generation == generation
                    && since.is_some_and(|since| started.at >= since)
                    && matches!(started.fence, LoadFence::Open)
                    && started.settled.is_none()
            }
        };
        match self.flights.last_mut().filter(|flight| usable(flight)) {
            Some(flight) => {
                flight.join(waiter);
                flight.number
            }
            None => {
                // There is seldom another one beside it.
                self.flights.reserve_exact(1);
                self.flights.push(Flight { number, waiters: smallvec![waiter], present: 1, started: None });
                number
            }
        }
    }

    /// One of those who wait for this load has given up. Returns whether it need not begin any more.
    pub(crate) fn give_up(&mut self, number: u64) -> bool {
        let Some(at) = self.flights.iter().position(|flight| flight.number == number) else { return false };
        let flight = &mut self.flights[at];
        flight.present -= 1;
        let is_idle = flight.present == 0 && flight.started.is_none();
        if is_idle {
            self.flights.remove(at);
        }
        is_idle
    }

    /// The load's statement is about to be sent.
    pub(crate) fn start(&mut self, generation: u64, now: Moment) -> Option<u64> {
        let flight = self.flights.iter_mut().find(|flight| flight.started.is_none())?;
        flight.started = Some(Started { at: now, generation, fence: LoadFence::Open, settled: None });
        Some(flight.number)
    }

    /// Takes what a load brought.
    pub(crate) fn loaded(
        &mut self,
        number: u64,
        loaded: &Loaded<V>,
        generation: u64,
        schema: &impl Preview<V>,
    ) -> Arrived<V> {
        let Some(at) = self.flights.iter().position(|flight| flight.number == number) else {
            return Arrived::nothing();
        };
        let Some(started) = &self.flights[at].started else { return Arrived::nothing() };
        if started.settled.is_some_and(|settled| loaded.last_seq < settled) {
            self.flights[at].started = None;
            let is_wanted = self.flights[at].present > 0;
            if !is_wanted {
                self.flights.remove(at);
            }
            return Arrived { is_wanted_again: is_wanted, ..Arrived::nothing() };
        }
        let fence_open = match started.fence {
            LoadFence::Open => true,
            LoadFence::AtLeast(version) => loaded.version != Version::NONE && loaded.version >= version,
            LoadFence::Shut => false,
        };
        let started_in = started.generation;
        let storable = fence_open && loaded.trusted && started_in == generation;
        let base_is_newer = matches!(&self.base, Base::Known { version, generation: of, .. }
            if *of == generation && loaded.version != Version::NONE && *version > loaded.version);
        let is_stored = storable && !base_is_newer;
        if is_stored {
            self.know_as_of(loaded, generation);
            if let Some(under_way) = &mut self.under_way {
                under_way.held = None;
                under_way.generation = generation;
            }
            self.show(generation, schema);
        }
        // What is shown is the very same, so that who changes it is not told that it is another.
        let (value, version) = match &self.shown {
            Some(shown) if is_stored || base_is_newer => (shown.clone(), self.base_version()),
            _ => (self.over(loaded, schema), loaded.version),
        };
        let answer = Answer { value, version, as_of: Some(loaded.as_of), is_loaded: true };
        if !is_stored && !base_is_newer && self.may_be_behind(loaded, generation) {
            // Somebody is told what cannot be kept in step. What was held before must not follow it: neither once changes are heard
            // again that are still behind it, nor while a change is held back.
            self.know_as_of(loaded, unheard(loaded.as_of));
            self.show(generation, schema);
        }
        // Whoever waited for an older load is answered too: a later one must not be followed by an older answer.
        let waiters: Waiters<V> = self.flights.drain(..=at).flat_map(|flight| flight.waiters).collect();
        let for_a_reader = waiters.iter().any(|waiter| !waiter.is_closed());
        let is_overtaken = !fence_open && loaded.trusted && started_in == generation;
        Arrived { is_wanted_again: false, is_overtaken, for_a_reader, answered: Some((answer, waiters)) }
    }

    /// Holds what was loaded, as of `generation`; what is under way is in it or not, by its sequence.
    fn know_as_of(&mut self, loaded: &Loaded<V>, generation: u64) {
        let (version, lifetime) = (loaded.version, loaded.lifetime);
        self.base = Base::Known { value: loaded.value.clone(), version, generation, lifetime };
        if let Some(under_way) = &mut self.under_way {
            under_way.included = under_way.sequence <= loaded.last_seq;
        }
    }

    /// Whether something is held that may be older than what was loaded.
    fn may_be_behind(&self, loaded: &Loaded<V>, generation: u64) -> bool {
        match self.base {
            Base::Known { version, generation: of, .. } if of == generation => {
                loaded.version == Version::NONE || version != loaded.version
            }
            // A gap lies between.
            Base::Known { .. } => true,
            Base::Unknown => false,
        }
    }

    /// The load failed; only those who waited for this one hear it.
    pub(crate) fn load_failed(&mut self, number: u64, error: &Error) {
        if let Some(at) = self.flights.iter().position(|flight| flight.number == number) {
            let flight = self.flights.remove(at);
            flight.waiters.into_iter().for_each(|waiter| drop(waiter.send(Err(error.clone()))));
        }
    }

    /// The loaded row with the patches that it does not contain. A patch that cannot be previewed leaves the row as it
    /// is: Postgres will have the say.
    fn over(&self, loaded: &Loaded<V>, schema: &impl Preview<V>) -> Value<V> {
        let under_way = self
            .under_way
            .as_ref()
            .filter(|under_way| under_way.sequence > loaded.last_seq)
            .map(|under_way| &under_way.pending);
        let pending = under_way.into_iter().chain(&self.queued);
        apply_all(Some(loaded.value.clone()), pending, schema).unwrap_or_else(|| loaded.value.clone())
    }
}
