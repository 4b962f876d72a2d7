//! Writes: how patches wait, are frozen into a batch, and are settled by its outcome.

use super::Slot;
use super::base::{Base, Preview};
use super::pending::{Pending, UnderWay};
use crate::codec::value::Value;
use crate::entries::ages::Lifetimes;
use crate::receipt::Receipt;
use cache_sync_core::number::{Sequence, Version};
use cache_sync_core::outcome::{Record, Verdict};
use cache_sync_core::patch::RowPatch;

impl<K, V> Slot<K, V> {
    /// Takes a write: into the patch that waits already if one patch can say both, else behind it. `shown` is what the
    /// key looks like with it. Returns by how many bytes the buffer grew, and whether a patch more waits.
    pub(crate) fn accept(
        &mut self,
        new: Pending<V>,
        shown: Option<Value<V>>,
        schema: &impl Preview<V>,
    ) -> (isize, bool) {
        self.shown = shown;
        let size = new.size as isize;
        let Some(last) = self.queued.pop() else {
            self.queued.push(new);
            return (size, true);
        };
        let value = last.value_with(&new, schema);
        let determined = new.determined || (last.determined && value.is_some());
        match schema.coalesce(last.patch, new.patch) {
            Ok(patch) => {
                let (size, size_before) = (patch.size(), last.size);
                self.queued.push(Pending { patch, value, determined, fate: last.fate, size });
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
    pub(crate) fn freeze(&mut self, sequence: Sequence, generation: u64) -> Option<RowPatch> {
        debug_assert!(self.under_way.is_none(), "one batch is under way at a time");
        if self.queued.is_empty() {
            return None;
        }
        let pending = self.queued.remove(0);
        let patch = pending.patch.clone();
        self.under_way = Some(UnderWay { sequence, generation, pending, included: false, held: None });
        Some(patch)
    }

    /// The batch of this number was undone before it was applied: its patch waits again, ahead of all others of the key.
    pub(crate) fn thaw(&mut self, sequence: Sequence, generation: u64, schema: &impl Preview<V>) {
        let Some(under_way) = self.under_way.take_if(|under_way| under_way.sequence == sequence) else { return };
        if under_way.held.is_some() {
            // It was no echo.
            self.base = Base::Unknown;
        }
        self.queued.insert(0, under_way.pending);
        self.show(generation, schema);
    }

    /// Takes the outcome of the batch of this number; only the patch that it carried is done. `None` is an outcome that
    /// nobody can tell any more. `lifetimes` are those of what is confirmed now.
    pub(crate) fn settle(
        &mut self,
        sequence: Sequence,
        record: Option<&Record>,
        generation: u64,
        lifetimes: Lifetimes,
        schema: &impl Preview<V>,
    ) -> Option<Pending<V>> {
        let under_way = self.under_way.take_if(|under_way| under_way.sequence == sequence)?;
        for flight in &mut self.flights {
            if let Some(started) = &mut flight.started {
                started.settled = Some(sequence);
            }
        }
        self.base = match record {
            Some(record) => self.base_after(&under_way, record, generation, lifetimes, schema),
            None => Base::Unknown,
        };
        self.show(generation, schema);
        Some(under_way.pending)
    }

    /// The base moves on to an outcome's version only from exactly the version that the outcome replaced, and only if
    /// nothing else was heard meanwhile: else somebody else's change lies between, which only a load can bring.
    fn base_after(
        &self,
        done: &UnderWay<V>,
        record: &Record,
        generation: u64,
        lifetimes: Lifetimes,
        schema: &impl Preview<V>,
    ) -> Base<V> {
        let unheard = match done.held {
            None => true,
            Some(held) => !held.foreign && held.version <= record.version,
        };
        if done.generation != generation || !unheard || record.version == Version::NONE {
            return Base::Unknown;
        }
        let is_exact = record.exact && schema.is_told(&done.pending.patch);
        // When a row expires, a patch that does not say so does not change.
        let of_row = Some(self.lifetime()).filter(|lifetime| lifetime.row_expires);
        let known = |value| {
            let lifetime = of_row.unwrap_or_else(|| lifetimes.of(&value));
            Base::Known { value, version: record.version, generation, lifetime }
        };
        match (&self.base, record.verdict) {
            (Base::Known { version, generation: of, .. }, _) if *of == generation && *version == record.version => {
                self.base.clone()
            }
            (Base::Known { version, generation: of, .. }, _)
                if done.included && *of == generation && *version > record.version =>
            {
                self.base.clone()
            }
            (_, Verdict::Applied) if is_exact && (done.pending.determined || done.pending.sets_all()) => {
                done.pending.value.clone().map_or(Base::Unknown, known)
            }
            (Base::Known { value, version, generation: of, .. }, Verdict::Applied)
                if is_exact && *of == generation && *version == record.replaced && !done.included =>
            {
                schema.preview(&done.pending.patch, value).map_or(Base::Unknown, known)
            }
            _ => Base::Unknown,
        }
    }

    /// Nobody works for the key any more: whoever waits for a load or an outcome hears so.
    pub(crate) fn abandon(&mut self) {
        self.flights.clear();
        let under_way = self.under_way.as_mut().map(|under_way| &mut under_way.pending);
        under_way.into_iter().chain(&mut self.queued).for_each(|pending| pending.fate.abandon());
    }

    /// Every patch that waits, for a client that closes.
    pub(crate) fn unwritten(&mut self) -> Vec<Pending<V>> {
        let under_way = self.under_way.take().map(|under_way| under_way.pending);
        under_way.into_iter().chain(std::mem::take(&mut self.queued)).collect()
    }

    /// Receipts for everything that is pending now.
    pub(crate) fn receipts(&self) -> impl Iterator<Item = Receipt> {
        let under_way = self.under_way.as_ref().map(|under_way| &under_way.pending);
        under_way.into_iter().chain(&self.queued).map(|pending| pending.fate.receipt())
    }

    /// That of the write that was accepted last.
    pub(crate) fn last_receipt(&self) -> Option<Receipt> {
        self.queued.last().map(|pending| pending.fate.receipt())
    }
}
