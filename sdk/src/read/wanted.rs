//! The keys that wait for a load.

use crate::common::lock::lock;
use cache_sync_core::number::KeyHash;
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::sync::Notify;

/// A key for each load that nobody has begun, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct WantedKeys {
    keys: Mutex<VecDeque<KeyHash>>,
    arrived: Notify,
}

impl WantedKeys {
    pub(super) fn push(&self, key: KeyHash) {
        lock(&self.keys).push_back(key);
        self.arrived.notify_one();
    }

    /// Takes up to `max` keys from the front, waiting until there is one.
    pub(super) async fn take(&self, max: usize) -> Vec<KeyHash> {
        loop {
            let taken = self.take_now(max);
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    fn take_now(&self, max: usize) -> Vec<KeyHash> {
        let mut keys = lock(&self.keys);
        let count = keys.len().min(max);
        keys.drain(..count).collect()
    }
}
