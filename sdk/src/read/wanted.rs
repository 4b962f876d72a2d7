//! The keys that wait for a load.

use crate::common::lock::lock;
use cache_sync_core::number::KeyHash;
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::sync::Notify;

/// A key for each load that nobody has begun, by the load's number: that is the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct WantedKeys {
    wanted: Mutex<Wanted>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    keys: BTreeMap<u64, KeyHash>,
    is_closed: bool,
}

impl WantedKeys {
    pub(super) fn push(&self, number: u64, key: KeyHash) {
        lock(&self.wanted).keys.insert(number, key);
        // Of two loaders that rest the one that has just come to it, whose connection is the warm one.
        self.arrived.notify_last();
    }

    /// Nobody waits for this load any more.
    pub(super) fn remove(&self, number: u64) {
        lock(&self.wanted).keys.remove(&number);
    }

    /// Nobody will want anything any more.
    pub(super) fn close(&self) {
        lock(&self.wanted).is_closed = true;
        self.arrived.notify_waiters();
        // For one that is about to wait.
        self.arrived.notify_one();
    }

    /// Takes up to `max` keys from the front, waiting until there is one; none once nobody will want anything any more.
    pub(super) async fn take(&self, max: usize) -> Option<Vec<KeyHash>> {
        loop {
            {
                let mut wanted = lock(&self.wanted);
                let taken: Vec<_> =
                    std::iter::from_fn(|| wanted.keys.pop_first()).take(max).map(|(_, key)| key).collect();
                if !taken.is_empty() {
                    return Some(taken);
                }
                if wanted.is_closed {
                    self.arrived.notify_one();
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }
}
