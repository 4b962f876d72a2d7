//! What all handles of one cache share: memory, and a slot for every key for which something is under way.
//!
//! The lock of a key's shard is held for every step of that key; inside it only other locks of this file and moka are
//! taken, and nothing waits. Order: shard, then queue.
//!
//! ```text
//! read   the hit path, and the way to a load and back      flush   from the buffer into batches, and outcomes back
//! write  accepted into the buffer, then shown              change  what others did
//! faces  what it is to its client and to the feed
//! ```

mod change;
mod faces;
mod flush;
mod read;
mod write;

pub(crate) use flush::{Frozen, Session};
pub(crate) use read::{Found, Wanted};
pub(crate) use write::{Refused, Write, WriteKind};

use crate::common::Common;
use crate::config::CacheConfig;
use crate::counters::Counters;
use crate::error::{Error, Kind as ErrorKind};
use crate::key::{self, Key};
use crate::layout::{Layout, Role, TableMeta};
use crate::line::Line;
use crate::lock::lock;
use crate::memory::{AlreadyHashed, Entry, Expiry, Memory};
use crate::seen::Seen;
use crate::slot::{Base, Preview, Slot, Value};
use cache_sync_core::fields::FieldIndex;
use cache_sync_core::number::{KeyHash, TableId};
use cache_sync_core::patch::{Kind, Patch};
use cache_sync_core::rule::Rule;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::Notify;
use uuid::Uuid;

const SHARDS: usize = 64;
/// So much room for slots a shard keeps when it is empty.
const SHARD_KEPT: usize = 256;

/// How many past generations are remembered with the time of their end, to tell how old an entry is.
const ENDED_MAX: usize = 64;

type Shard<K, V> = HashMap<KeyHash, Slot<K, V>, BuildHasherDefault<AlreadyHashed>>;

pub(crate) struct Table<K, V> {
    pub(crate) meta: TableMeta,
    pub(crate) layout: Layout,
    pub(crate) config: CacheConfig,
    pub(crate) common: Arc<Common>,
    pub(crate) counters: Counters,
    memory: Memory<K, V>,
    generation: AtomicU64,
    ended: Mutex<VecDeque<(u64, Instant)>>,
    shards: Box<[Mutex<Shard<K, V>>]>,
    wanted: Mutex<VecDeque<KeyHash>>,
    pub(crate) load: Notify,
    dirty: Mutex<Line>,
    pub(crate) flush: Notify,
    flights: AtomicU64,
    session: Mutex<Session>,
    /// What loads from the primary have shown.
    pub(crate) seen: Mutex<Seen>,
    /// The last batch whose outcome is known.
    settled: AtomicI64,
    /// Puts make their value whatever the row is: no field counts or compares.
    determined: bool,
    /// Members that only Postgres can tell: after a write the row has to be loaded.
    has_read_only: bool,
    /// The table is no longer attached as it was, or keys are hashed anew: nothing that is held can be told apart any more.
    defunct: AtomicBool,
}

impl<K: Key, V: Serialize + DeserializeOwned + Send + Sync + 'static> Table<K, V> {
    pub(crate) fn new(meta: TableMeta, layout: Layout, config: CacheConfig, common: Arc<Common>) -> Table<K, V> {
        let rules = || layout.columns.iter().map(|column| &column.role);
        Table {
            determined: rules()
                .all(|role| matches!(role, Role::Key(_) | Role::Field { rule: Rule::Lww | Rule::Arrival, .. })),
            has_read_only: rules().any(|role| matches!(role, Role::ReadOnly)),
            memory: Memory::new(config.max_capacity, config.time_to_live),
            generation: AtomicU64::new(1),
            ended: Mutex::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            wanted: Mutex::default(),
            load: Notify::new(),
            dirty: Mutex::default(),
            flush: Notify::new(),
            flights: AtomicU64::new(0),
            session: Mutex::new(Session { id: Uuid::new_v4(), offset: 0 }),
            seen: Mutex::default(),
            settled: AtomicI64::new(0),
            defunct: AtomicBool::new(false),
            counters: Counters::default(),
            meta,
            layout,
            config,
            common,
        }
    }

    pub(crate) fn hash(&self, key: &K) -> KeyHash {
        key::key_hash(&self.meta.hash_key, key)
    }

    /// Everything that is held and may be served, by key.
    pub(crate) fn entries(&self) -> Vec<(K, Value<V>)> {
        let generation = self.generation();
        let live = self.common.freshness.is_live();
        let usable = self.memory.entries().into_iter().filter(|entry| live && entry.generation == generation);
        usable.map(|entry| (entry.key().clone(), entry.value)).collect()
    }

    pub(crate) fn entry_count(&self) -> u64 {
        self.memory.len()
    }

    pub(crate) fn rule(&self, field: FieldIndex) -> &Rule {
        match self.layout.columns.get(usize::from(field)).map(|column| &column.role) {
            Some(Role::Field { rule, .. }) => rule,
            _ => &Rule::Arrival,
        }
    }

    pub(crate) fn table_id(&self) -> TableId {
        self.meta.table_id
    }

    pub(crate) fn check_usable(&self) -> Result<(), Error> {
        self.common.check_open()?;
        if self.is_retired() {
            let name = &self.meta.name;
            let message = format!("the table {name} is no longer attached as it was when it was opened; open it again");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        Ok(())
    }

    /// Nobody works for this table any more: whoever waits for a load or an outcome hears so.
    pub(crate) fn abandon(&self) {
        for shard in &self.shards {
            lock(shard).values_mut().for_each(Slot::abandon);
        }
    }

    fn shard(&self, hash: KeyHash) -> MutexGuard<'_, Shard<K, V>> {
        // moka takes the upper bits and maps the lower ones, so those in the middle spread the locks.
        lock(&self.shards[(hash.0 >> u32::BITS) as usize % SHARDS])
    }

    fn new_slot(&self, key: &K, hash: KeyHash) -> Slot<K, V> {
        self.slot_over(self.memory.get(hash, key), key)
    }

    /// A slot for a key of which memory holds this.
    fn slot_over(&self, entry: Option<Entry<K, V>>, key: &K) -> Slot<K, V> {
        let base = match entry {
            Some(entry) => Base::Known {
                expires: entry.expires.instant(self.common.started),
                value: entry.value,
                version: entry.version,
                generation: entry.generation,
            },
            None => Base::Unknown,
        };
        Slot::new(key.clone(), base, self.generation())
    }

    /// One step of a key that has a slot, and what follows from it for memory.
    fn step<R>(&self, hash: KeyHash, step: impl FnOnce(&mut Slot<K, V>) -> R) -> Option<R> {
        let mut shard = self.shard(hash);
        let slot = shard.get_mut(&hash)?;
        let result = step(slot);
        self.reflect(hash, slot, self.generation(), Instant::now());
        if slot.is_idle() {
            shard.remove(&hash);
            if shard.is_empty() {
                shard.shrink_to(SHARD_KEPT);
            }
        }
        Some(result)
    }

    /// Lets memory hold what the slot shows.
    fn reflect(&self, hash: KeyHash, slot: &Slot<K, V>, generation: u64, now: Instant) {
        match slot.entry(generation, now) {
            Some((value, version, expires)) => {
                let expires = Expiry::new(expires, self.common.started);
                self.memory.hold(hash, Entry::new(&slot.key, value, version, generation, expires));
            }
            None => self.memory.drop_entry(hash),
        }
    }
}

impl<K: Key, V: Serialize + DeserializeOwned + Send + Sync + 'static> Preview<V> for Table<K, V> {
    fn preview(&self, patch: &Patch, value: &Value<V>) -> Option<Value<V>> {
        self.try_preview(patch, value).ok().flatten()
    }

    fn is_told(&self, patch: &Patch) -> bool {
        // Of a row that it creates, Postgres may say when it expires.
        !self.has_read_only && (self.meta.expires.is_none() || patch.kind == Kind::Edit)
    }

    fn coalesce(&self, earlier: Patch, later: Patch) -> Result<Patch, Box<(Patch, Patch)>> {
        earlier.coalesce(later, |field| self.rule(field))
    }
}
