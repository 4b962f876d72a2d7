//! The slots of all keys for which something is under way, and who watches a key, spread over locks.

use super::looks::Looks;
use super::memory::AlreadyHashed;
use super::slot::Slot;
use super::topics::Topics;
use crate::common::lock::lock;
use cache_sync_core::number::KeyHash;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Mutex, MutexGuard};

const SHARDS: usize = 64;

pub(super) type Slots<K, V> = HashMap<KeyHash, Slot<K, V>, BuildHasherDefault<AlreadyHashed>>;

pub(super) struct Shard<K, V> {
    pub(super) slots: Slots<K, V>,
    pub(super) topics: Topics,
    pub(super) looks: Looks,
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Shard<K, V> {
        Shard { slots: HashMap::default(), topics: Topics::default(), looks: Looks::default() }
    }
}

/// All of them.
pub(super) struct Shards<K, V>(Box<[Mutex<Shard<K, V>>]>);

impl<K, V> Shards<K, V> {
    pub(super) fn new() -> Shards<K, V> {
        Shards((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    /// Shows every slot there is, shard by shard.
    pub(super) fn each(&self, mut look: impl FnMut(&mut Slot<K, V>)) {
        self.each_shard(|shard| shard.slots.values_mut().for_each(&mut look));
    }

    pub(super) fn each_shard(&self, mut look: impl FnMut(&mut Shard<K, V>)) {
        self.0.iter().for_each(|shard| look(&mut lock(shard)));
    }

    pub(super) fn of(&self, hash: KeyHash) -> MutexGuard<'_, Shard<K, V>> {
        // moka takes the upper bits and maps the lower ones, so those in the middle spread the locks.
        lock(&self.0[(hash.0 >> u32::BITS) as usize % SHARDS])
    }
}
