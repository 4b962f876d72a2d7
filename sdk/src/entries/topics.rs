//! Who wants to hear when what a key shows may have changed.

use super::memory::AlreadyHashed;
use cache_sync_core::number::KeyHash;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use tokio::sync::Notify;

/// The keys of a shard that are watched, each with what its watchers wait for, and how many they are.
#[derive(Debug, Default)]
pub(super) struct Topics(HashMap<KeyHash, (Arc<Notify>, usize), BuildHasherDefault<AlreadyHashed>>);

impl Topics {
    pub(super) fn watch(&mut self, hash: KeyHash) -> Arc<Notify> {
        let (changed, watchers) = self.0.entry(hash).or_default();
        *watchers += 1;
        changed.clone()
    }

    pub(super) fn leave(&mut self, hash: KeyHash) {
        if let Some((_, watchers)) = self.0.get_mut(&hash) {
            *watchers -= 1;
            if *watchers == 0 {
                self.0.remove(&hash);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn changed(&self, hash: KeyHash) {
        if let Some((changed, _)) = self.0.get(&hash) {
            changed.notify_waiters();
        }
    }

    pub(super) fn all_changed(&self) {
        self.0.values().for_each(|(changed, _)| changed.notify_waiters());
    }
}
