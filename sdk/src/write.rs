//! The walk of one patch through a write: accepted into the buffer, then shown; later frozen into a batch, sent, settled.
//!
//! ```text
//! accept   into the buffer, then shown              line     the keys that wait for the flusher
//! flusher  sends batches until their outcome is known
//! freeze   what goes into the next batch            batch    a frozen batch as it is sent
//! ```
//! cache -> codec -> accept -> line -> flusher -> freeze -> batch -> pg -> entries -> receipt

mod accept;
mod batch;
mod flusher;
mod freeze;
mod line;

pub(crate) use accept::{Refused, Write, WriteKind};
pub(crate) use flusher::Flusher;

use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::entries::Entries;
use crate::receipt::Receipt;
use line::Line;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// The writes of one cache.
pub(crate) struct Writes<K, V> {
    pub(crate) entries: Arc<Entries<K, V>>,
    /// The keys that wait for the flusher.
    line: Mutex<Line>,
    /// Something has come to wait, or somebody is in a hurry.
    arrived: Notify,
    /// Patches in one batch.
    batch_entries_max: usize,
}

impl<K: Key, V: CacheValue> Writes<K, V> {
    pub(crate) fn new(entries: Arc<Entries<K, V>>, batch_entries_max: usize) -> Writes<K, V> {
        Writes { entries, line: Mutex::default(), arrived: Notify::new(), batch_entries_max }
    }

    /// Asks the flusher to send what waits now without waiting for more.
    pub(crate) fn request_flush(&self) {
        lock(&self.line).hurry();
        self.arrived.notify_one();
    }

    fn has_waiting(&self) -> bool {
        lock(&self.line).len() > 0
    }

    /// Whether the next batch need not wait for more: somebody waits for it, or it is full.
    fn is_next_batch_due(&self) -> bool {
        let line = lock(&self.line);
        line.is_urgent() || line.len() >= self.batch_entries_max
    }

    /// Asks for a flush, and returns receipts for all that is pending.
    pub(crate) fn flush_now(&self) -> Vec<Receipt> {
        let receipts = self.entries.pending();
        self.request_flush();
        receipts
    }
}
