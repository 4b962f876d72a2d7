//! What waits to be compared with Postgres.

use super::Lookup;
use crate::codec::value::Value;
use crate::common::lock::lock;
use crate::common::time::Moment;
use crate::entries::Claim;
use crate::error::Error;
use cache_sync_core::number::{KeyHash, Version};
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use tokio::sync::{Notify, oneshot};

/// Keys in one statement.
pub(super) const KEYS_MAX: usize = 1000;
/// What waits to be compared, and what has turned out to be different.
pub(super) struct Comparisons<K, V> {
    waiting: Mutex<Waiting<K, V>>,
    arrived: Notify,
    pub(super) suspects: Mutex<HashMap<KeyHash, Claim<K, V>>>,
    pub(super) suspected: Notify,
}

struct Waiting<K, V> {
    comparisons: VecDeque<Comparison<K, V>>,
    is_closed: bool,
}

pub(super) struct Comparison<K, V> {
    pub(super) claim: Claim<K, V>,
    /// Who wants to know what Postgres says; none: a hit was answered.
    pub(super) reader: Option<oneshot::Sender<Result<Lookup<V>, Error>>>,
}

/// A row as Postgres has it.
pub(super) struct Said<V> {
    pub(super) value: Value<V>,
    pub(super) version: Version,
    /// When it was asked.
    pub(super) sent: Moment,
    /// It was the server whose changes are heard.
    pub(super) is_the_feeds: bool,
}

impl<K, V> Default for Comparisons<K, V> {
    fn default() -> Comparisons<K, V> {
        let waiting = Mutex::new(Waiting { comparisons: VecDeque::new(), is_closed: false });
        Comparisons { waiting, arrived: Notify::new(), suspects: Mutex::default(), suspected: Notify::new() }
    }
}

impl<K, V> Comparisons<K, V> {
    /// Lets it wait, if fewer do than so many.
    pub(super) fn push(&self, comparison: Comparison<K, V>, max: usize) -> bool {
        let mut waiting = lock(&self.waiting);
        let is_taken = !waiting.is_closed && waiting.comparisons.len() < max;
        if is_taken {
            waiting.comparisons.push_back(comparison);
            drop(waiting);
            self.arrived.notify_one();
        }
        is_taken
    }

    /// Takes what waits, and waits until there is something; none once nobody will read any more.
    pub(super) async fn take(&self) -> Option<Vec<Comparison<K, V>>> {
        loop {
            {
                let mut waiting = lock(&self.waiting);
                if waiting.is_closed {
                    self.arrived.notify_one();
                    return None;
                }
                let count = waiting.comparisons.len().min(KEYS_MAX);
                if count > 0 {
                    let taken = waiting.comparisons.drain(..count).collect();
                    if !waiting.comparisons.is_empty() {
                        self.arrived.notify_one();
                    }
                    return Some(taken);
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Whoever waits hears that nothing is read any more.
    pub(super) fn close(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.is_closed = true;
        let left = std::mem::take(&mut waiting.comparisons);
        drop(waiting);
        drop(left);
        self.arrived.notify_one();
        self.suspected.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.waiting).is_closed
    }
}
