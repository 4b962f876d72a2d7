//! The walk of one patch through a write: accepted into the buffer, then shown; later frozen into a batch, sent, settled.
//!
//! ```text
//! accept   into the buffer, then shown              line     the keys that wait for the flusher
//! budget   how many patches may wait
//! flusher  sends batches until their outcome is known
//! pace     how many go together, and whose turn it is
//! freeze   what goes into the next batch            batch    a frozen batch as it is sent
//! unwritten  patches as data, when the client closes     turns  of those who look before they write
//! ```
//! cache -> codec -> accept -> line -> flusher -> freeze -> batch -> pg -> entries -> receipt

mod accept;
mod batch;
mod budget;
mod flusher;
mod freeze;
mod line;
mod pace;
mod turns;
mod unwritten;

pub(crate) use accept::{Outdated, Seen, Write, WriteKind};
pub(crate) use budget::Budget;
pub(crate) use flusher::Flusher;
pub(crate) use turns::Turn;

use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::config::Durability;
use crate::entries::Entries;
use crate::error::{Error, ErrorKind};
use crate::receipt::{Hindrance, Receipt, Unwritten};
use cache_sync_core::number::KeyHash;
use line::Line;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use turns::Turns;

/// The writes of one cache.
pub(crate) struct Writes<K, V> {
    pub(crate) entries: Arc<Entries<K, V>>,
    /// The keys that wait for the flusher.
    line: Mutex<Line>,
    /// Something has come to wait, or somebody is in a hurry.
    arrived: Notify,
    budget: Arc<Budget>,
    /// What keeps them from Postgres.
    pub(crate) hindrance: Arc<Hindrance>,
    limits: Limits,
    turns: Turns,
    /// Nobody writes any more: what waits is the last.
    left: AtomicBool,
}

/// When writes return, and how many go together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) durability: Durability,
    /// Patches in one batch.
    pub(crate) batch_entries_max: usize,
    /// How long one waits for others.
    pub(crate) flush_interval: Duration,
}

impl<K: Key, V: CacheValue> Writes<K, V> {
    pub(crate) fn new(
        entries: Arc<Entries<K, V>>,
        budget: Arc<Budget>,
        hindrance: Arc<Hindrance>,
        limits: Limits,
    ) -> Writes<K, V> {
        let (turns, left) = (Turns::default(), AtomicBool::new(false));
        Writes { entries, line: Mutex::default(), arrived: Notify::new(), budget, hindrance, limits, turns, left }
    }

    /// Asks the flusher to send what waits now without waiting for more.
    pub(crate) fn request_flush(&self) {
        lock(&self.line).hurry();
        self.arrived.notify_one();
    }

    /// Waits until nobody else here looks at the row of this key in order to change it, but no longer than for a write.
    ///
    /// # Errors
    /// Postgres does not answer somebody whose turn it was meanwhile, or it has become nobody else's in time.
    pub(crate) async fn turn(&self, key: KeyHash) -> Result<Turn<'_>, Error> {
        self.hindrance.turn(key, self.turns.wait(key)).await?
    }

    /// Whether who has this turn may look once more.
    ///
    /// # Errors
    /// For as long as a write is waited for, others have written the row whenever he looked.
    pub(crate) fn check_turn(&self, turn: &Turn<'_>) -> Result<(), Error> {
        let lasts = turn.lasts();
        if lasts < self.hindrance.timeout() {
            return Ok(());
        }
        let table = &self.entries.schema.meta.name;
        let message =
            format!("table {table}: others here have written the row whenever it was looked at, for {lasts:.1?}");
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Nobody writes any more: the flusher may end once everything is written.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Release);
        self.request_flush();
    }

    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    fn has_waiting(&self) -> bool {
        lock(&self.line).len() > 0
    }

    /// Whether the next batch need not wait for more: somebody waits for it, or for room in the buffer, or it is full.
    fn is_next_batch_due(&self) -> bool {
        let line = lock(&self.line);
        line.is_urgent() || line.len() >= self.limits.batch_entries_max || self.is_left() || self.budget.is_wanted()
    }

    /// Takes everything that Postgres does not have, when the client closes.
    pub(crate) fn take_unwritten(&self) -> Vec<Unwritten> {
        let taken = self.entries.take_unwritten(|bytes| self.budget.give_back(bytes));
        taken.iter().flat_map(|(key, patch)| unwritten::unwritten(&self.entries.schema, key, patch)).collect()
    }

    /// Asks for a flush, and returns receipts for all that is pending.
    pub(crate) fn flush_now(&self) -> Vec<Receipt> {
        let receipts = self.entries.pending();
        self.request_flush();
        receipts
    }
}
