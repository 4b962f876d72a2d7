//! Writes: accepted into the buffer, then shown.

use super::Writes;
use crate::codec::key::{self, Key};
use crate::codec::value::{CacheValue, Value};
use crate::common::lock::lock;
use crate::common::time::Moment;
use crate::config::Durability;
use crate::entries::{Pending, Slot};
use crate::error::{Error, ErrorKind};
use crate::receipt::{Receipt, Settler};
use cache_sync_core::fields::Fields;
use cache_sync_core::number::KeyHash;
use cache_sync_core::patch::{self, Expected, PatchKind, RowPatch};
use std::sync::Arc;
use std::time::Duration;

/// What a write wants.
pub(crate) struct Write<V> {
    pub(crate) kind: WriteKind,
    pub(crate) fields: Fields,
    /// The value that a put writes, or that an update has made.
    pub(crate) value: Value<V>,
    /// An update was made by looking at this.
    pub(crate) seen: Option<Seen<V>>,
}

/// What was looked at in order to change it. What was made of it must not be applied to another value.
pub(crate) struct Seen<V> {
    pub(crate) value: Arc<V>,
    /// It was looked at in turn, so what was accepted meanwhile is noted, whether memory shows it or not.
    pub(crate) in_turn: bool,
}

/// Why an update has to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outdated {
    /// The value that was looked at is no longer the one shown, or something else was written meanwhile.
    Changed,
    /// None is shown, so somebody else here may have changed it: only who looks in turn can tell.
    Unseen,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteKind {
    Put,
    Edit,
    Delete,
    CompareAndSet(Expected),
}

impl<V> Write<V> {
    /// The room it needs in the buffer, in bytes.
    fn size(&self) -> usize {
        patch::size(&self.fields)
    }
}

impl<V> Seen<V> {
    fn check(&self, current: Option<&Value<V>>) -> Result<(), Outdated> {
        match current {
            Some(Some(row)) if Arc::ptr_eq(&row.value, &self.value) => Ok(()),
            Some(_) => Err(Outdated::Changed),
            None if self.in_turn => Ok(()),
            None => Err(Outdated::Unseen),
        }
    }
}

/// Why a write was not accepted.
enum Refused<V> {
    Outdated(Outdated),
    /// Another key with the same hash has something under way: try again later.
    Collision(Box<Write<V>>),
    Error(Error),
}

impl<K: Key, V: CacheValue> Writes<K, V> {
    /// Accepts a write into the buffer, then shows it; waits as its cache was told to. Only an update may be outdated.
    pub(crate) async fn accept(&self, key: &K, write: Write<V>) -> Result<Result<Receipt, Outdated>, Error> {
        let hash = self.entries.schema.hash::<K, K>(key);
        match self.buffer(key, hash, write).await? {
            Ok(receipt) => self.durable(receipt, hash).await.map(Ok),
            Err(outdated) => Ok(Err(outdated)),
        }
    }

    /// The same, without waiting until it is as safe as its cache was told to make it.
    pub(crate) async fn buffer(
        &self,
        key: &K,
        hash: KeyHash,
        mut write: Write<V>,
    ) -> Result<Result<Receipt, Outdated>, Error> {
        const COLLISION_PAUSE: Duration = Duration::from_millis(1);
        let schema = &self.entries.schema;
        self.entries.check_usable()?;
        if !key::fits(key, &schema.meta.key).map_err(|error| Error::new(ErrorKind::Mismatch, error.to_string()))? {
            return Err(Error::new(ErrorKind::RuleViolation, "the key is out of the range of its column"));
        }
        write.fields.shrink();
        loop {
            let reserved = write.size();
            self.hindrance.room(self.budget.take(reserved)).await??;
            let refused = match self.try_accept(key, hash, write, reserved) {
                Ok(receipt) => {
                    self.entries.count_write(hash);
                    return Ok(Ok(receipt));
                }
                Err(refused) => refused,
            };
            self.budget.give_back(reserved);
            match refused {
                Refused::Outdated(why) => return Ok(Err(why)),
                Refused::Error(error) => return Err(error),
                Refused::Collision(again) => write = *again,
            }
            tokio::time::sleep(COLLISION_PAUSE).await;
        }
    }

    /// Waits until it is as safe as its cache was told to make it.
    pub(crate) async fn durable(&self, receipt: Receipt, hash: KeyHash) -> Result<Receipt, Error> {
        // What is not served from memory is not written behind, either.
        if self.limits.durability == Durability::Memory && self.entries.is_serving(hash) {
            return Ok(receipt);
        }
        self.request_flush();
        receipt.written().await.map(Receipt::settled)
    }

    fn try_accept(&self, key: &K, hash: KeyHash, write: Write<V>, reserved: usize) -> Result<Receipt, Refused<V>> {
        let mut place = self.entries.place(hash);
        let now = self.entries.common.now();
        // Under the lock, so that nothing is accepted after `abandon` and `take_unwritten` have come by.
        self.entries.check_usable().map_err(Refused::Error)?;
        // What was written meanwhile counts, whether it is shown now or not.
        if write.seen.as_ref().is_some_and(|seen| seen.in_turn) && place.is_written_since() {
            return Err(Refused::Outdated(Outdated::Changed));
        }
        let slot = place.slot_or_new(key);
        if slot.key != *key {
            return Err(Refused::Collision(Box::new(write)));
        }
        match self.add_to(slot, hash, write, now, reserved) {
            Ok(accepted) => {
                place.reflect(now);
                place.note_write();
                place.tell_watchers();
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
        if length == 1 || length == self.limits.batch_entries_max {
            self.arrived.notify_one();
        }
    }

    fn add_to(
        &self,
        slot: &mut Slot<K, V>,
        hash: KeyHash,
        write: Write<V>,
        now: Moment,
        reserved: usize,
    ) -> Result<Accepted, Refused<V>> {
        let (entries, common, schema) = (&*self.entries, &*self.entries.common, &self.entries.schema);
        let live = common.freshness.is_live(now);
        let current = slot.shown(entries.generation(), now).filter(|_| live);
        write.seen.as_ref().map_or(Ok(()), |seen| seen.check(current.as_ref())).map_err(Refused::Outdated)?;
        let kind = match write.kind {
            WriteKind::Put => PatchKind::Put { seen: slot.has_seen_row(schema) },
            WriteKind::Edit => PatchKind::Edit,
            WriteKind::Delete => PatchKind::Delete,
            WriteKind::CompareAndSet(_) => PatchKind::CompareAndSet,
        };
        let stamp = common.clock.stamp(slot.base_version(), now);
        let patch = match write.kind {
            WriteKind::CompareAndSet(expected) => RowPatch::expecting(expected, stamp, write.fields),
            _ => RowPatch::new(kind, stamp, write.fields),
        };
        let shown = self.shown_with(&patch, &write.value, current).map_err(Refused::Error)?;
        let pending = Pending {
            value: match kind {
                PatchKind::Edit => None,
                PatchKind::CompareAndSet => write.value.map(Some),
                _ => Some(write.value),
            },
            determined: schema.is_determined(&patch),
            fate: Settler::new(self.hindrance.clone(), hash),
            size: reserved,
            patch,
        };
        let (grown, waits) = slot.accept(pending, shown, schema);
        if !waits {
            self.budget.merged(reserved, grown);
        }
        let receipt = slot.last_receipt().ok_or_else(|| Refused::Error(Error::closed()))?;
        Ok(Accepted { receipt, waits })
    }

    /// What the key looks like with the patch, which writes or has made this value; an edit that no rule can express is refused.
    fn shown_with(
        &self,
        patch: &RowPatch,
        value: &Value<V>,
        current: Option<Value<V>>,
    ) -> Result<Option<Value<V>>, Error> {
        let schema = &self.entries.schema;
        match (patch.kind, current) {
            (PatchKind::CompareAndSet, current) => Ok(current),
            (PatchKind::Delete, _) => Ok(Some(None)),
            (PatchKind::Put { .. }, _) if schema.is_determined(patch) => Ok(Some(value.clone())),
            (PatchKind::Put { .. }, Some(None)) => Ok(Some(value.clone())),
            (PatchKind::Edit, Some(_)) if value.is_some() => Ok(Some(value.clone())),
            (_, None) => Ok(None),
            (PatchKind::Put { .. }, Some(current)) => {
                Ok(schema.preview(patch, &current)?.or_else(|| Some(value.clone())))
            }
            (_, Some(current)) => schema.preview(patch, &current),
        }
    }
}

/// A write that was accepted.
struct Accepted {
    receipt: Receipt,
    /// Its key has to stand in line for the flusher: it did not become part of a patch that stands there.
    waits: bool,
}
