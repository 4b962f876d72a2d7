//! Writes: accepted into the buffer, then shown.

use super::Table;
use crate::error::{Error, Kind as ErrorKind};
use crate::fields;
use crate::key::Key;
use crate::lock::lock;
use crate::receipt::Receipt;
use crate::slot::{Pending, Slot, Value};
use cache_sync_core::fields::Fields;
use cache_sync_core::merge::CannotMerge;
use cache_sync_core::number::KeyHash;
use cache_sync_core::patch::{self, Kind, Patch};
use serde::Serialize;
use serde::de::DeserializeOwned;
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

impl<K: Key, V: Serialize + DeserializeOwned + Send + Sync + 'static> Table<K, V> {
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
            Ok(_) => self.counters.writes.add(1),
            Err(_) => self.common.room.give_back(1, reserved),
        }
        result
    }

    fn try_accept(&self, key: &K, hash: KeyHash, write: Write<V>, reserved: usize) -> Result<Receipt, Refused<V>> {
        let mut shard = self.shard(hash);
        let now = Instant::now();
        // Under the lock, so that nothing is accepted after `abandon` and `take_unwritten` have come by.
        self.check_usable().map_err(Refused::Error)?;
        let generation = self.generation();
        let slot = shard.entry(hash).or_insert_with(|| self.new_slot(key, hash));
        if slot.key != *key {
            return Err(Refused::Collision(write));
        }
        let accepted = self.add_to(slot, write, (generation, now), reserved);
        let idle = slot.is_idle();
        match accepted {
            Ok((receipt, waits)) => {
                self.reflect(hash, slot, generation, now);
                // Under the lock too: what a flush finds pending, it finds in line.
                if waits {
                    self.stand_in_line(hash);
                }
                Ok(receipt)
            }
            Err(refused) => {
                if idle {
                    shard.remove(&hash);
                }
                Err(refused)
            }
        }
    }

    /// The flusher is woken by the first patch, and when a batch is full: not by every write.
    fn stand_in_line(&self, hash: KeyHash) {
        let length = lock(&self.dirty).push(hash);
        if length == 1 || length == self.common.batch_entries_max {
            self.flush.notify_one();
        }
    }

    /// Returns the receipt, and whether the key has to stand in line for the flusher.
    fn add_to(
        &self,
        slot: &mut Slot<K, V>,
        write: Write<V>,
        (generation, now): (u64, Instant),
        reserved: usize,
    ) -> Result<(Receipt, bool), Refused<V>> {
        let live = self.common.freshness.is_live_at(now);
        let current = slot.shown(generation, now).filter(|_| live);
        if let (Some(expected), Some(current)) = (&write.expected, &current) {
            let same = current.as_ref().is_some_and(|value| Arc::ptr_eq(value, expected));
            if !same {
                return Err(Refused::Changed);
            }
        }
        let kind = match write.kind {
            WriteKind::Put => Kind::Put { seen: slot.has_seen_row() },
            WriteKind::Edit => Kind::Edit,
            WriteKind::Delete => Kind::Delete,
        };
        let stamp = lock(&self.common.clock).stamp(slot.base_version().0, self.common.monotonic_micros_at(now));
        let patch = Patch::new(kind, stamp, write.fields);
        let shown = self.shown_with(&patch, (write.kind, &write.value), current)?;
        let (sender, receiver) = oneshot::channel();
        let pending = Pending {
            value: match kind {
                Kind::Edit => None,
                _ => Some(write.value),
            },
            determined: kind == Kind::Delete || (self.determined && kind != Kind::Edit),
            receipts: smallvec![sender],
            size: reserved,
            patch,
        };
        let (grown, waits) = slot.accept(pending, shown, self);
        if !waits {
            self.common.room.merged(reserved, grown);
        }
        Ok((Receipt(receiver), waits))
    }

    /// What the key looks like with the patch; an edit that no rule can express is refused.
    fn shown_with(
        &self,
        patch: &Patch,
        (kind, value): (WriteKind, &Value<V>),
        current: Option<Value<V>>,
    ) -> Result<Option<Value<V>>, Refused<V>> {
        match (kind, current) {
            (WriteKind::Delete, _) => Ok(Some(None)),
            (WriteKind::Put, _) if self.determined => Ok(Some(value.clone())),
            (WriteKind::Put, Some(None)) => Ok(Some(value.clone())),
            (WriteKind::Edit, Some(_)) if value.is_some() => Ok(Some(value.clone())),
            (_, None) => Ok(None),
            (_, Some(current)) => self.try_preview(patch, &current).map_err(Refused::Error),
        }
    }

    /// The value with the patch; none where only Postgres can tell.
    pub(super) fn try_preview(&self, patch: &Patch, value: &Value<V>) -> Result<Option<Value<V>>, Error> {
        let violation = |error: &dyn std::fmt::Display| Error::new(ErrorKind::RuleViolation, error.to_string());
        let row = match value {
            Some(value) => Some(fields::to_fields(&self.layout, &**value).map_err(|error| violation(&error))?),
            None => None,
        };
        match patch.preview(row, |field| self.rule(field)) {
            Ok(Some(row)) => {
                let value = fields::from_fields(&self.layout, &row).map_err(|error| violation(&error))?;
                Ok(Some(Some(Arc::new(value))))
            }
            Ok(None) => Ok(Some(None)),
            Err(CannotMerge::OnlyPostgres(_)) => Ok(None),
            Err(error) => Err(violation(&error)),
        }
    }

    /// Drops what memory holds for the key; the row is not touched.
    pub(crate) fn invalidate(&self, key: &K) {
        lock(&self.seen).invalidate();
        let hash = self.hash(key);
        let mut shard = self.shard(hash);
        match shard.get_mut(&hash) {
            Some(slot) => {
                let generation = self.generation();
                slot.invalidate(generation, self);
                self.reflect(hash, slot, generation, Instant::now());
            }
            None => self.memory.drop_entry(hash),
        }
    }
}
