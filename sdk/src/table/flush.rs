//! From the buffer into batches, and outcomes back.

use super::Table;
use crate::key::Key;
use crate::lock::lock;
use crate::receipt::{Outcome, Receipt};
use cache_sync_core::number::{KeyHash, Sequence};
use cache_sync_core::outcome::Record;
use cache_sync_core::patch::Patch;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;
use uuid::Uuid;

/// A batch that has reached this many bytes of patches takes no more: what Postgres takes in one message is bounded.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// The client's line of batches to one table. The client's own numbers never start anew, so that what a load saw of an
/// earlier session cannot be taken for a batch of this one.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    /// The client's number of a batch less the server's.
    pub(super) offset: i64,
}

impl Session {
    pub(crate) fn to_server(self, number: Sequence) -> Sequence {
        Sequence(number.0 - self.offset)
    }

    pub(crate) fn to_client(self, on_server: Sequence) -> Sequence {
        Sequence(on_server.0.max(0) + self.offset)
    }
}

/// A patch frozen for a batch.
pub(crate) struct Frozen<K> {
    pub(crate) hash: KeyHash,
    pub(crate) key: K,
    pub(crate) patch: Patch,
}

impl<K: Key, V: Serialize + DeserializeOwned + Send + Sync + 'static> Table<K, V> {
    pub(crate) fn has_dirty(&self) -> bool {
        self.dirty_len() > 0
    }

    pub(crate) fn dirty_len(&self) -> usize {
        lock(&self.dirty).len()
    }

    /// Asks the flusher to send what waits now without waiting for more.
    pub(crate) fn request_flush(&self) {
        lock(&self.dirty).hurry();
        self.flush.notify_one();
    }

    pub(crate) fn is_flush_requested(&self) -> bool {
        lock(&self.dirty).is_urgent()
    }

    /// Freezes up to `max` patches for the batch of this number, in the order of their acceptance.
    pub(crate) fn freeze(&self, sequence: Sequence, max: usize) -> Vec<Frozen<K>> {
        let (hashes, urgent) = lock(&self.dirty).take(max);
        let mut again = Vec::new();
        let mut bytes = 0;
        let mut frozen = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let mut shard = self.shard(hash);
            let Some(slot) = shard.get_mut(&hash) else { continue };
            if slot.is_under_way() || bytes >= BATCH_BYTES_MAX {
                again.push(hash);
                continue;
            }
            if let Some(patch) = slot.freeze(sequence, self.generation()) {
                bytes += patch.size();
                frozen.push(Frozen { hash, key: slot.key.clone(), patch });
            }
        }
        lock(&self.dirty).give_back(again, urgent);
        frozen
    }

    /// The session under which batches are sent now.
    pub(crate) fn session(&self) -> Session {
        *lock(&self.session)
    }

    /// The last batch whose outcome is known.
    pub(crate) fn settled(&self) -> Sequence {
        Sequence(self.settled.load(Ordering::Acquire))
    }

    /// The batch of this number was not sent after all, or refused without moving the session.
    pub(crate) fn leave_out(&self, number: Sequence) {
        let mut session = lock(&self.session);
        let next = session.to_server(number);
        session.offset = number.0 + 1 - next.0;
    }

    /// The batch of this number, and those after it, continue the session from the server's number.
    pub(crate) fn renumber(&self, number: Sequence, on_server: Sequence) {
        lock(&self.session).offset = number.0 - on_server.0;
    }

    /// The batch of this number will be the first of a new session.
    pub(crate) fn new_session(&self, first: Sequence) {
        *lock(&self.session) = Session { id: Uuid::new_v4(), offset: first.0 - 1 };
    }

    /// Takes the outcome of one patch of the batch of this number; `None` when nobody can tell it any more.
    pub(crate) fn settle(&self, hash: KeyHash, sequence: Sequence, record: Option<&Record>, same_server: bool) {
        if record.is_some() {
            self.settled.fetch_max(sequence.0, Ordering::AcqRel);
        }
        let done =
            self.step(hash, |slot| slot.settle(sequence, record, self.generation(), same_server, self)).flatten();
        let Some(done) = done else { return };
        self.common.room.give_back(1, done.size);
        let outcome = record.map_or_else(Outcome::unknown, Outcome::from);
        done.receipts.into_iter().for_each(|receipt| drop(receipt.send(outcome.clone())));
    }

    /// A receipt for everything that is pending now.
    pub(crate) fn pending(&self) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for shard in &self.shards {
            for slot in lock(shard).values_mut() {
                slot.await_pending(|| {
                    let (sender, receiver) = oneshot::channel();
                    receipts.push(Receipt(receiver));
                    sender
                });
            }
        }
        receipts
    }

    /// Takes everything that Postgres does not have, when the client closes.
    pub(crate) fn take_unwritten(&self) -> Vec<(K, Patch)> {
        let mut unwritten = Vec::new();
        for shard in &self.shards {
            for slot in lock(shard).values_mut() {
                for pending in slot.unwritten() {
                    self.common.room.give_back(1, pending.size);
                    unwritten.push((slot.key.clone(), pending.patch));
                }
            }
        }
        unwritten
    }
}
