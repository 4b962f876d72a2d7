//! What outcomes do: each patch of a batch is done, and whoever waits for it hears so.

use super::Entries;
use super::slot::Pending;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::receipt::{Outcome, Receipt, Refusal};
use cache_sync_core::number::{KeyHash, Sequence};
use cache_sync_core::outcome::{Record, Verdict};
use cache_sync_core::patch::RowPatch;
use std::collections::HashMap;

/// What became of a batch.
pub(crate) struct Outcomes {
    /// One for each patch, by its place; none when nobody can tell any more.
    pub(crate) records: Option<Vec<Record>>,
    /// Why patches were refused, by their places, as far as that is known.
    pub(crate) refusals: HashMap<usize, Refusal>,
    /// The server that told is the one whose changes are heard.
    pub(crate) same_server: bool,
}

impl Outcomes {
    /// Nobody can tell any more.
    pub(crate) fn unknown() -> Outcomes {
        Outcomes { records: None, refusals: HashMap::new(), same_server: false }
    }
}

impl<K: Key, V: CacheValue> Entries<K, V> {
    /// Takes the outcomes of the batch of this number, which carried a patch of each of these keys. What each patch took of the
    /// buffer is told to `free` before anybody hears its outcome.
    pub(crate) fn settle(
        &self,
        keys: &[KeyHash],
        sequence: Sequence,
        outcomes: &Outcomes,
        mut free: impl FnMut(usize),
    ) {
        self.counters.batches.add(1);
        self.counters.patches.add(keys.len() as u64);
        self.note_losses(keys.len(), outcomes);
        for (at, hash) in keys.iter().enumerate() {
            let record = outcomes.records.as_ref().and_then(|records| records.get(at));
            if let Some(done) = self.settle_one(*hash, sequence, record, outcomes.same_server) {
                free(done.size);
                self.meter.settled(done.fate.accepted());
                let outcome = record.map_or_else(Outcome::unknown, Outcome::from);
                done.fate.settle(outcome.refused(outcomes.refusals.get(&at)));
            }
        }
    }

    /// Says what was not written, also where nobody waits for the outcome.
    fn note_losses(&self, patches: usize, outcomes: &Outcomes) {
        let table = || self.schema.display_name();
        let Some(records) = &outcomes.records else {
            self.counters.unknown.add(patches as u64);
            return tracing::error!(
                table = table(),
                patches,
                "nobody can tell any more whether these patches were applied"
            );
        };
        let mut refused = records.iter().enumerate().filter(|(_, record)| record.verdict == Verdict::Rejected);
        let Some((place, first)) = refused.next() else { return };
        let patches = 1 + refused.count() as u64;
        self.counters.rejected.add(patches);
        let Some(batches_not_said) = self.refusals_said.kept_back() else { return };
        let refusal = outcomes.refusals.get(&place);
        let sqlstate = first.sqlstate.map(|code| String::from_utf8_lossy(&code).into_owned());
        tracing::warn!(
            table = table(),
            patches,
            sqlstate,
            reason = refusal.and_then(Refusal::said),
            constraint = refusal.and_then(|refusal| refusal.constraint.as_deref()),
            dead_letter = refusal.and_then(|refusal| refusal.dead_letter),
            batches_not_said,
            "Postgres refused patches; cache_sync.dead_letters has them"
        );
    }

    fn settle_one(
        &self,
        hash: KeyHash,
        sequence: Sequence,
        record: Option<&Record>,
        same_server: bool,
    ) -> Option<Pending<V>> {
        if record.is_some() {
            self.numbering.note_settled(sequence);
        }
        let mut place = self.place(hash);
        let slot = place.slot()?;
        let record = record.filter(|_| same_server);
        let lifetimes = self.lifetimes(hash, self.common.now(), None);
        let done = slot.settle(sequence, record, self.generation(), lifetimes, &self.schema);
        place.reflect(self.common.now());
        place.leave();
        place.tell_watchers();
        done
    }

    /// The batch of this number was undone before it was applied.
    pub(crate) fn thaw(&self, keys: &[KeyHash], sequence: Sequence) {
        for hash in keys {
            let mut place = self.place(*hash);
            if let Some(slot) = place.slot() {
                slot.thaw(sequence, self.generation(), &self.schema);
                place.reflect(self.common.now());
                place.tell_watchers();
            }
        }
    }

    /// A receipt for everything that is pending now.
    pub(crate) fn pending(&self) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        self.shards.each(|slot| receipts.extend(slot.receipts()));
        receipts
    }

    /// Nobody works for this table any more: whoever waits for a load or an outcome hears so.
    pub(crate) fn abandon(&self) {
        self.shards.each(|slot| slot.abandon());
    }

    /// Takes everything that Postgres does not have, when the client closes. What each patch took of the buffer is told to `free`.
    pub(crate) fn take_unwritten(&self, mut free: impl FnMut(usize)) -> Vec<(K, RowPatch)> {
        let mut unwritten = Vec::new();
        self.shards.each(|slot| {
            for pending in slot.unwritten() {
                free(pending.size);
                unwritten.push((slot.key.clone(), pending.patch));
            }
        });
        unwritten
    }
}
