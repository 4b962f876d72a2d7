//! Writes: accepted into the buffer, then shown.

use super::Writes;
use crate::codec::key::Key;
use crate::codec::value::{CacheValue, Value};
use crate::common::lock::lock;
use crate::entries::slot::{Pending, Slot};
use crate::error::Error;
use crate::receipt::Receipt;
use cache_sync_core::fields::Fields;
use cache_sync_core::number::KeyHash;
use cache_sync_core::patch::{self, Kind as PatchKind, Patch as RowPatch};
use smallvec::smallvec;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// What a write wants.
pub(crate) struct Write<V> {
    pub(crate) kind: WriteKind,
    pub(crate) fields: Fields,
    /// The value that a put writes, or that an update has made.
    pub(crate) value: Option<Arc<V>>,
    /// An update was computed from this value and must not be applied to another.
    pub(crate) expected: Option<Arc<V>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteKind {
    Put,
    Edit,
    Delete,
}

impl<V> Write<V> {
    /// The room it needs in the buffer, in bytes.
    pub(crate) fn size(&self) -> usize {
        patch::size(&self.fields)
    }
}

/// Why a write was not accepted.
pub(crate) enum Refused<V> {
    /// The value that an update was computed from is no longer the one shown.
    Changed,
    /// Another key with the same hash has something under way: try again later.
    Collision(Write<V>),
    Error(Error),
}

impl<K: Key, V: CacheValue> Writes<K, V> {
    /// Accepts a write into the buffer, then shows it. Room for its size must have been taken; it is given back when
    /// the write is refused.
    pub(crate) fn accept(
        &self,
        key: &K,
        hash: KeyHash,
        write: Write<V>,
        reserved: usize,
    ) -> Result<Receipt, Refused<V>> {
        let result = self.try_accept(key, hash, write, reserved);
        match &result {
            Ok(_) => self.entries.counters.writes.add(1),
            Err(_) => self.entries.common.budget.give_back(1, reserved),
        }
        result
    }

    fn try_accept(&self, key: &K, hash: KeyHash, write: Write<V>, reserved: usize) -> Result<Receipt, Refused<V>> {
        let mut place = self.entries.place(hash);
        let now = Instant::now();
        // Under the lock, so that nothing is accepted after `abandon` and `take_unwritten` have come by.
        self.entries.check_usable().map_err(Refused::Error)?;
        let slot = place.slot_for(key);
        if slot.key != *key {
            return Err(Refused::Collision(write));
        }
        match self.add_to(slot, write, now, reserved) {
            Ok(accepted) => {
                place.reflect(now);
                // Under the lock too: what a flush finds pending, it finds in line.
                if accepted.waits {
                    self.stand_in_line(hash);
                }
                Ok(accepted.receipt)
            }
            Err(refused) => {
                place.leave();
                Err(refused)
            }
        }
    }

    /// The flusher is woken by the first patch, and when a batch is full: not by every write.
    fn stand_in_line(&self, hash: KeyHash) {
        let length = lock(&self.line).push(hash);
        if length == 1 || length == self.batch_entries_max {
            self.arrived.notify_one();
        }
    }

    fn add_to(
        &self,
        slot: &mut Slot<K, V>,
        write: Write<V>,
        now: Instant,
        reserved: usize,
    ) -> Result<Accepted, Refused<V>> {
        let (entries, common, schema) = (&*self.entries, &*self.entries.common, &self.entries.schema);
        let live = common.freshness.is_live_at(now);
        let current = slot.shown(entries.generation(), now).filter(|_| live);
        if let (Some(expected), Some(current)) = (&write.expected, &current) {
            let same = current.as_ref().is_some_and(|value| Arc::ptr_eq(value, expected));
            if !same {
                return Err(Refused::Changed);
            }
        }
        let kind = match write.kind {
            WriteKind::Put => PatchKind::Put { seen: slot.has_seen_row() },
            WriteKind::Edit => PatchKind::Edit,
            WriteKind::Delete => PatchKind::Delete,
        };
        let stamp = common.clock.stamp(slot.base_version(), now);
        let patch = RowPatch::new(kind, stamp, write.fields);
        let shown = self.shown_with(&patch, &write.value, current).map_err(Refused::Error)?;
        let (sender, receiver) = oneshot::channel();
        let pending = Pending {
            value: match kind {
                PatchKind::Edit => None,
                _ => Some(write.value),
            },
            determined: schema.is_determined(kind),
            receipts: smallvec![sender],
            size: reserved,
            patch,
        };
        let (grown, waits) = slot.accept(pending, shown, schema);
        if !waits {
            common.budget.merged(reserved, grown);
        }
        Ok(Accepted { receipt: Receipt(receiver), waits })
    }

    /// What the key looks like with the patch, which writes or has made this value; an edit that no rule can express is refused.
    fn shown_with(
        &self,
        patch: &RowPatch,
        value: &Value<V>,
        current: Option<Value<V>>,
    ) -> Result<Option<Value<V>>, Error> {
        match (patch.kind, current) {
            (PatchKind::Delete, _) => Ok(Some(None)),
            (PatchKind::Put { .. }, _) if self.entries.schema.is_determined(patch.kind) => Ok(Some(value.clone())),
            (PatchKind::Put { .. }, Some(None)) => Ok(Some(value.clone())),
            (PatchKind::Edit, Some(_)) if value.is_some() => Ok(Some(value.clone())),
            (_, None) => Ok(None),
            (_, Some(current)) => self.entries.schema.preview(patch, &current),
        }
    }
}

/// A write that was accepted.
struct Accepted {
    receipt: Receipt,
    /// Its key has to stand in line for the flusher: it did not become part of a patch that stands there.
    waits: bool,
}
