//! The state of one key while something is under way for it: patches that Postgres does not have yet, or loads.
//!
//! Every step here is synchronous and knows no time but what it is told; a [`Place`](super::place::Place) holds the lock around it. Keys with
//! nothing under way have no slot: memory alone knows them.
//!
//! ```text
//! base     what is known of the row            load    who joins which load, and whether what it brings may be kept
//! flight   one load and who waits for it       write   how patches wait, are frozen into a batch, and are settled
//! pending  patches that wait                   change  what others did
//! ```

mod base;
mod change;
mod flight;
mod load;
mod pending;
mod write;

pub(crate) use base::{Base, Preview};
pub(crate) use load::{Loaded, Next};
pub(crate) use pending::{Hold, Pending};

use super::entry::{Answer, Lifetime};
use super::generation::{is_of_none, is_replaced, replaced, unheard};
use crate::codec::value::Value;
use crate::common::time::Moment;
use cache_sync_core::number::Version;
use cache_sync_core::patch::PatchKind;
use flight::Flight;
use pending::{Held, UnderWay, apply_all};
use smallvec::SmallVec;

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
    pub(crate) fn shown(&self, generation: u64, now: Moment) -> Option<Value<V>> {
        let held_too_long = self.held_back().is_some_and(|held| held.hold.until <= now);
        let base_doubted = matches!(self.base, Base::Known { generation: of, lifetime, .. }
            if of != generation || lifetime.is_over(now));
        let whole = self.pending().last().is_some_and(|pending| pending.determined);
        if !whole && (held_too_long || base_doubted) {
            return None;
        }
        self.shown.clone()
    }

    pub(crate) fn is_shown(&self, generation: u64, now: Moment) -> bool {
        self.shown(generation, now).is_some()
    }

    /// What memory may hold: nothing while a change is held back, so that every read comes by here.
    pub(crate) fn entry(&self, generation: u64, now: Moment) -> Option<(Answer<V>, Lifetime)> {
        match self.held_back() {
            Some(_) => None,
            None => self.answer(generation, now).map(|answer| (answer, self.lifetime())),
        }
    }

    /// What a read may be answered now, if anything.
    pub(crate) fn answer(&self, generation: u64, now: Moment) -> Option<Answer<V>> {
        // The feed has come further than what is shown while a change is held back.
        let as_of = self.held_back().map(|held| held.hold.as_of);
        let version = self.base_version();
        self.shown(generation, now).map(|value| Answer { value, version, as_of, is_loaded: false })
    }

    /// What was loaded while no changes were heard, or has changed since, if that is all there is.
    pub(crate) fn of_no_generation(&self) -> Option<&Base<V>> {
        matches!(self.base, Base::Known { generation, .. } if is_of_none(generation)).then_some(&self.base)
    }

    /// What it shows may be what a change has replaced.
    pub(crate) fn is_holding_back(&self) -> bool {
        self.held_back().is_some()
    }

    fn lifetime(&self) -> Lifetime {
        match &self.base {
            Base::Known { lifetime, .. } => *lifetime,
            Base::Unknown => Lifetime::ENDLESS,
        }
    }

    /// The last value known, however doubtful, and the generation in which it was confirmed; what a change has replaced, or may have, only
    /// to who takes that.
    pub(crate) fn last_known(
        &self,
        generation: u64,
        now: Moment,
        takes_replaced: bool,
        schema: &impl Preview<V>,
    ) -> Option<(Value<V>, u64)> {
        let (base, confirmed) = match &self.base {
            Base::Known { lifetime, .. } if lifetime.is_over(now) => (None, generation),
            Base::Known { generation: of, .. } if is_replaced(*of) && !takes_replaced => (None, generation),
            // It may be what the change that is held back has replaced.
            Base::Known { value, generation: of, .. } => match self.held_back().filter(|_| *of == generation) {
                None => (Some(value.clone()), *of),
                Some(Held { hold, .. }) if !takes_replaced => (Some(value.clone()), unheard(hold.as_of)),
                Some(Held { hold, .. }) if hold.kept_until.is_some_and(|until| now < until) => {
                    (Some(value.clone()), replaced(hold.as_of))
                }
                Some(_) => (None, generation),
            },
            Base::Unknown => (None, generation),
        };
        apply_all(base, self.pending(), schema).map(|value| (value, confirmed))
    }

    /// When what it shows ends although nothing happens.
    pub(crate) fn ends_at(&self) -> Option<Moment> {
        let held_until = self.held_back().map(|held| held.hold.until);
        held_until.into_iter().chain(self.lifetime().row_ends_at()).min()
    }

    pub(crate) fn is_loading(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Whether writes of the key wait, or are under way.
    pub(crate) fn has_pending(&self) -> bool {
        self.under_way.is_some() || !self.queued.is_empty()
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether a load or an outcome has shown that the row exists, and none that it is gone. A row that expires may be gone
    /// by the time that the write arrives, which then must create it; a patch that waits may see to that.
    pub(crate) fn has_seen_row(&self, schema: &impl Preview<V>) -> bool {
        let may_be_gone = self
            .pending()
            .any(|pending| pending.patch.kind == PatchKind::Delete || !schema.leaves_expiry(&pending.patch));
        // It may have been a deletion that was heard.
        !may_be_gone
            && matches!(&self.base, Base::Known { value: Some(_), lifetime, generation, .. }
                if !lifetime.row_expires && !is_replaced(*generation))
    }

    pub(crate) fn base_version(&self) -> Version {
        match &self.base {
            Base::Known { version, .. } => *version,
            Base::Unknown => Version::NONE,
        }
    }

    fn held_back(&self) -> Option<&Held> {
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

    fn show(&mut self, generation: u64, schema: &impl Preview<V>) {
        self.shown = apply_all(self.fresh_base(generation), self.pending(), schema);
    }
}

#[cfg(test)]
mod tests;
