//! What all handles of one cache share: memory, and a slot for every key for which something is under way.
//!
//! The lock of a key's shard is held for every step of that key; inside it only other locks of this file and moka are
//! taken, and nothing waits. Order: shard, then queue.

use crate::config::CacheConfig;
use crate::counters::Counters;
use crate::error::{Error, Kind as ErrorKind};
use crate::fields;
use crate::freshness::Freshness;
use crate::key::{self, Key};
use crate::layout::{Layout, Role, TableMeta};
use crate::line::Line;
use crate::lock::lock;
use crate::memory::{Entry, Memory};
use crate::receipt::{Outcome, Receipt};
use crate::room::Room;
use crate::slot::{Answer, Base, Loaded, Pending, Preview, Slot, Value};
use cache_sync_core::hlc::ClientClock;
use cache_sync_core::number::{KeyHash, Sequence, TableId, Version};
use cache_sync_core::outcome::Record;
use cache_sync_core::patch::{self, FieldIndex, Fields, Kind, Patch};
use cache_sync_core::rule::Rule;
use cache_sync_core::wire::{Change, ChangeKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

const SHARDS: usize = 64;

/// A batch that has reached this many bytes of patches takes no more: what Postgres takes in one message is bounded.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// How many past generations are remembered with the time of their end, to tell how old an entry is.
const ENDED_MAX: usize = 64;

type Shard<K, V> = HashMap<KeyHash, Slot<K, V>>;
type Waiter<V> = oneshot::Sender<Result<Answer<V>, Error>>;

/// What a client shares with all its tables.
pub(crate) struct Common {
    pub(crate) freshness: Freshness,
    pub(crate) room: Room,
    pub(crate) clock: Mutex<ClientClock>,
    pub(crate) started: Instant,
    pub(crate) closed: AtomicBool,
    /// A task of the client has died.
    pub(crate) broken: AtomicBool,
    pub(crate) stale_while_unavailable: Duration,
    pub(crate) batch_entries_max: usize,
}

impl Common {
    /// Whether all tasks of the client work.
    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        if self.broken.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "a task of this client has died; make a new client"));
        }
        Ok(())
    }

    /// A monotonic clock in microseconds, for the client's hybrid logical clock.
    pub(crate) fn monotonic_micros(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

/// The client's line of batches to one table. The client's own numbers never start anew, so that what a load saw of an
/// earlier session cannot be taken for a batch of this one.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    /// The client's number of a batch less the server's.
    offset: i64,
}

impl Session {
    pub(crate) fn to_server(self, number: Sequence) -> Sequence {
        Sequence(number.0 - self.offset)
    }

    pub(crate) fn to_client(self, on_server: Sequence) -> Sequence {
        Sequence(on_server.0.max(0) + self.offset)
    }
}

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
    /// Puts make their value whatever the row is: no field counts or compares.
    determined: bool,
    /// Members that only Postgres can tell: after a write the row has to be loaded.
    has_read_only: bool,
    /// The table is no longer attached as it was, or keys are hashed anew: nothing that is held can be told apart any more.
    defunct: AtomicBool,
}

/// What became of a look-up.
pub(crate) enum Found<V> {
    Here(Answer<V>),
    Loading(oneshot::Receiver<Result<Answer<V>, Error>>),
    /// Another key with the same hash is busy: this one goes past the cache.
    Collision,
}

/// What a write wants.
pub(crate) struct Write<V> {
    pub(crate) kind: WriteKind,
    pub(crate) fields: Fields,
    /// The value that a put writes, or that an update has made.
    pub(crate) value: Option<Arc<V>>,
    /// An update was computed from this value and must not be applied to another.
    pub(crate) expected: Option<Arc<V>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteKind {
    Put,
    Edit,
    Delete,
}

impl<V> Write<V> {
    /// The room it needs in the buffer, in bytes.
    pub(crate) fn size(&self) -> usize {
        patch::size(self.fields.values().map(|value| value.get().len()))
    }
}

/// Why a write was not accepted.
pub(crate) enum Refused<V> {
    /// The value that an update was computed from is no longer the one shown.
    Changed,
    /// Another key with the same hash has something under way: try again later.
    Collision(Write<V>),
    Error(Error),
}

/// A key whose load is about to be sent.
pub(crate) struct Wanted<K> {
    pub(crate) hash: KeyHash,
    pub(crate) key: K,
    pub(crate) flight: u64,
}

/// A patch frozen for a batch.
pub(crate) struct Frozen<K> {
    pub(crate) hash: KeyHash,
    pub(crate) key: K,
    pub(crate) patch: Patch,
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

    // ---- read ----

    /// The hit path: no lock, no allocation, no statement.
    #[inline]
    pub(crate) fn hit(&self, key: &K, hash: KeyHash) -> Option<Arc<Entry<K, V>>> {
        let entry = self.memory.get(hash)?;
        let usable = entry.generation() == self.generation.load(Ordering::Acquire) && entry.key == *key;
        if !usable || !self.common.freshness.is_live() {
            return None;
        }
        self.counters.hits.add_one(hash.0);
        Some(entry)
    }

    /// The way of a read that did not hit: what a slot shows, or the load that will bring it.
    pub(crate) fn look_up(&self, key: &K, hash: KeyHash) -> Result<Found<V>, Error> {
        let live = self.common.freshness.is_live();
        let mut shard = self.shard(hash);
        // Under the lock, so that nobody begins to wait after `abandon` has come by.
        self.check_usable()?;
        let generation = self.generation();
        if let Some(slot) = shard.get(&hash) {
            if slot.key != *key {
                return Ok(Found::Collision);
            }
            if let Some(value) = slot.shown(generation, Instant::now()).filter(|_| live) {
                self.counters.hits.add_one(hash.0);
                return Ok(Found::Here((value, slot.base_version())));
            }
        } else if let Some(entry) = self.hit(key, hash) {
            return Ok(Found::Here((entry.value.clone(), entry.version())));
        }
        self.counters.misses.add(1);
        let (sender, receiver) = oneshot::channel();
        self.want(&mut shard, key, hash, sender);
        Ok(Found::Loading(receiver))
    }

    fn want(&self, shard: &mut Shard<K, V>, key: &K, hash: KeyHash, waiter: Waiter<V>) {
        let slot = shard.entry(hash).or_insert_with(|| self.new_slot(key, hash));
        if slot.join(self.flights.fetch_add(1, Ordering::Relaxed), self.generation(), waiter) {
            lock(&self.wanted).push_back(hash);
            self.load.notify_one();
        }
    }

    /// What was held when the database went away, if the caller allows it and it is not too old: the value, and for how
    /// long it has been in doubt at most.
    pub(crate) fn stale(&self, key: &K, hash: KeyHash) -> Option<(Value<V>, Duration)> {
        let (value, doubt) = match self.shard(hash).get(&hash).filter(|slot| slot.key == *key) {
            Some(slot) => {
                let (value, confirmed) = slot.last_known(self.generation(), self)?;
                (value, self.doubt(confirmed))
            }
            None => {
                let entry = self.memory.get(hash).filter(|entry| entry.key == *key)?;
                (entry.value.clone(), self.doubt(entry.generation()))
            }
        };
        (doubt <= self.common.stale_while_unavailable).then(|| {
            self.counters.stale_served.add(1);
            (value, doubt)
        })
    }

    fn doubt(&self, generation: u64) -> Duration {
        if generation == self.generation() {
            return self.common.freshness.doubt();
        }
        let ended = lock(&self.ended).iter().find(|(of, _)| *of == generation).map(|(_, at)| at.elapsed());
        ended.unwrap_or(Duration::MAX)
    }

    /// The keys whose loads may go into one statement now.
    pub(crate) fn take_wanted(&self, max: usize) -> Vec<Wanted<K>> {
        let mut wanted = lock(&self.wanted);
        let hashes: Vec<_> = {
            let count = wanted.len().min(max);
            wanted.drain(..count).collect()
        };
        drop(wanted);
        hashes
            .into_iter()
            .filter_map(|hash| {
                let mut shard = self.shard(hash);
                let slot = shard.get_mut(&hash)?;
                let flight = slot.start(self.generation())?;
                Some(Wanted { hash, key: slot.key.clone(), flight })
            })
            .collect()
    }

    pub(crate) fn loaded(&self, wanted: &Wanted<K>, loaded: &Loaded<V>) {
        self.step(wanted.hash, |slot| {
            if slot.loaded(wanted.flight, loaded, self.generation(), self) {
                lock(&self.wanted).push_back(wanted.hash);
                self.load.notify_one();
            }
        });
    }

    /// Memory stays as it is: what is held may still be served stale.
    pub(crate) fn load_failed(&self, wanted: &Wanted<K>, error: &Error) {
        let mut shard = self.shard(wanted.hash);
        if let Some(slot) = shard.get_mut(&wanted.hash) {
            slot.load_failed(wanted.flight, error);
            if slot.is_idle() {
                shard.remove(&wanted.hash);
            }
        }
    }

    // ---- write ----

    /// Accepts a write into the buffer, then shows it. Room for its size must have been taken; it is given back when
    /// the write is refused.
    pub(crate) fn accept(
        &self,
        key: &K,
        hash: KeyHash,
        write: Write<V>,
        reserved: usize,
    ) -> Result<Receipt, Refused<V>> {
        let result = self.try_accept(key, hash, write, reserved);
        match &result {
            Ok(_) => self.counters.writes.add(1),
            Err(_) => self.common.room.give_back(1, reserved),
        }
        result
    }

    fn try_accept(&self, key: &K, hash: KeyHash, write: Write<V>, reserved: usize) -> Result<Receipt, Refused<V>> {
        let mut shard = self.shard(hash);
        // Under the lock, so that nothing is accepted after `abandon` and `take_unwritten` have come by.
        self.check_usable().map_err(Refused::Error)?;
        let generation = self.generation();
        let slot = shard.entry(hash).or_insert_with(|| self.new_slot(key, hash));
        if slot.key != *key {
            return Err(Refused::Collision(write));
        }
        let accepted = self.add_to(slot, write, generation, reserved);
        let idle = slot.is_idle();
        match accepted {
            Ok((receipt, waits)) => {
                self.reflect(hash, slot, generation);
                drop(shard);
                if waits {
                    self.stand_in_line(hash);
                }
                Ok(receipt)
            }
            Err(refused) => {
                if idle {
                    shard.remove(&hash);
                }
                Err(refused)
            }
        }
    }

    /// The flusher is woken by the first patch, and when a batch is full: not by every write.
    fn stand_in_line(&self, hash: KeyHash) {
        let length = lock(&self.dirty).push(hash);
        if length == 1 || length == self.common.batch_entries_max {
            self.flush.notify_one();
        }
    }

    /// Returns the receipt, and whether the key has to stand in line for the flusher.
    fn add_to(
        &self,
        slot: &mut Slot<K, V>,
        write: Write<V>,
        generation: u64,
        reserved: usize,
    ) -> Result<(Receipt, bool), Refused<V>> {
        let live = self.common.freshness.is_live();
        let current = slot.shown(generation, Instant::now()).filter(|_| live);
        if let (Some(expected), Some(current)) = (&write.expected, &current) {
            let same = current.as_ref().is_some_and(|value| Arc::ptr_eq(value, expected));
            if !same {
                return Err(Refused::Changed);
            }
        }
        let kind = match write.kind {
            WriteKind::Put => Kind::Put { seen: slot.has_seen_row() },
            WriteKind::Edit => Kind::Edit,
            WriteKind::Delete => Kind::Delete,
        };
        let stamp = lock(&self.common.clock).stamp(slot.base_version().0, self.common.monotonic_micros());
        let patch = Patch::new(kind, stamp, write.fields);
        let shown = self.shown_with(&patch, (write.kind, &write.value), current)?;
        let (sender, receiver) = oneshot::channel();
        let pending = Pending {
            value: match kind {
                Kind::Edit => None,
                _ => Some(write.value),
            },
            determined: kind == Kind::Delete || (self.determined && kind != Kind::Edit),
            receipts: vec![sender],
            size: reserved,
            patch,
        };
        let (grown, waits) = slot.accept(pending, shown, self);
        if !waits {
            self.common.room.merged(reserved, grown);
        }
        Ok((Receipt(receiver), waits))
    }

    /// What the key looks like with the patch; an edit that no rule can express is refused.
    fn shown_with(
        &self,
        patch: &Patch,
        (kind, value): (WriteKind, &Value<V>),
        current: Option<Value<V>>,
    ) -> Result<Option<Value<V>>, Refused<V>> {
        match (kind, current) {
            (WriteKind::Delete, _) => Ok(Some(None)),
            (WriteKind::Put, _) if self.determined => Ok(Some(value.clone())),
            (WriteKind::Put, Some(None)) => Ok(Some(value.clone())),
            (WriteKind::Edit, Some(_)) if value.is_some() => Ok(Some(value.clone())),
            (_, None) => Ok(None),
            (_, Some(current)) => self.try_preview(patch, &current).map(Some).map_err(Refused::Error),
        }
    }

    fn try_preview(&self, patch: &Patch, value: &Value<V>) -> Result<Value<V>, Error> {
        let violation = |error: &dyn std::fmt::Display| Error::new(ErrorKind::RuleViolation, error.to_string());
        let row = match value {
            Some(value) => Some(fields::to_fields(&self.layout, &**value).map_err(|error| violation(&error))?),
            None => None,
        };
        match patch.preview(row, |field| self.rule(field)).map_err(|error| violation(&error))? {
            Some(row) => {
                Ok(Some(Arc::new(fields::from_fields(&self.layout, &row).map_err(|error| violation(&error))?)))
            }
            None => Ok(None),
        }
    }

    /// Drops what memory holds for the key; the row is not touched.
    pub(crate) fn invalidate(&self, key: &K) {
        let hash = self.hash(key);
        let mut shard = self.shard(hash);
        match shard.get_mut(&hash) {
            Some(slot) => {
                let generation = self.generation();
                slot.invalidate(generation, self);
                self.reflect(hash, slot, generation);
            }
            None => self.memory.drop_entry(hash),
        }
    }

    // ---- flush ----

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
        let record = record.map(|record| Record { exact: record.exact && !self.has_read_only, ..*record });
        let done = self
            .step(hash, |slot| slot.settle(sequence, record.as_ref(), self.generation(), same_server, self))
            .flatten();
        let Some(done) = done else { return };
        self.common.room.give_back(1, done.size);
        let outcome = record.as_ref().map_or_else(Outcome::unknown, Outcome::from);
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

    /// Nobody works for this table any more: whoever waits for a load or an outcome hears so.
    pub(crate) fn abandon(&self) {
        for shard in &self.shards {
            lock(shard).values_mut().for_each(Slot::abandon);
        }
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

    // ---- what others did ----

    pub(crate) fn change(&self, change: &Change) {
        self.counters.changes.add(1);
        if change.kind == ChangeKind::FlushTable {
            return self.raise_generation();
        }
        let mut shard = self.shard(change.key);
        match shard.get_mut(&change.key) {
            Some(slot) => {
                let generation = self.generation();
                slot.change(change, generation, Instant::now(), self);
                self.reflect(change.key, slot, generation);
            }
            None => {
                let Some(entry) = self.memory.get(change.key) else { return };
                let known = change.version != Version::NONE
                    && (entry.version() == change.version
                        || (change.kind == ChangeKind::Versioned && entry.version() > change.version));
                if !known {
                    self.memory.drop_entry(change.key);
                }
            }
        }
    }

    /// From now on nothing held is served before it has been loaded again.
    pub(crate) fn raise_generation(&self) {
        let mut ended = lock(&self.ended);
        let before = self.generation.fetch_add(1, Ordering::AcqRel);
        ended.push_back((before, Instant::now()));
        if ended.len() > ENDED_MAX {
            ended.pop_front();
        }
    }

    pub(crate) fn retire(&self) {
        self.defunct.store(true, Ordering::Release);
        self.raise_generation();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.defunct.load(Ordering::Acquire)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    // ---- look inside ----

    /// Everything that is held and may be served, by key.
    pub(crate) fn entries(&self) -> Vec<(K, Value<V>)> {
        let generation = self.generation();
        let live = self.common.freshness.is_live();
        let usable = self.memory.entries().into_iter().filter(|entry| live && entry.generation() == generation);
        usable.map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    }

    pub(crate) fn entry_count(&self) -> u64 {
        self.memory.len()
    }

    pub(crate) fn rule(&self, field: FieldIndex) -> Rule {
        match self.layout.columns.get(usize::from(field)).map(|column| &column.role) {
            Some(Role::Field { rule, .. }) => *rule,
            _ => Rule::Arrival,
        }
    }

    pub(crate) fn table_id(&self) -> TableId {
        self.meta.table_id
    }

    pub(crate) fn check_usable(&self) -> Result<(), Error> {
        if self.common.closed.load(Ordering::Acquire) {
            return Err(Error::closed());
        }
        self.common.check_alive()?;
        if self.is_retired() {
            let name = &self.meta.name;
            let message = format!("the table {name} is no longer attached as it was when it was opened; open it again");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        Ok(())
    }

    fn shard(&self, hash: KeyHash) -> MutexGuard<'_, Shard<K, V>> {
        // moka takes the upper bits, so the lower ones spread the locks.
        lock(&self.shards[hash.0 as usize % SHARDS])
    }

    fn new_slot(&self, key: &K, hash: KeyHash) -> Slot<K, V> {
        let base = match self.memory.get(hash).filter(|entry| entry.key == *key) {
            Some(entry) => {
                Base::Known { value: entry.value.clone(), version: entry.version(), generation: entry.generation() }
            }
            None => Base::Unknown,
        };
        Slot::new(key.clone(), base, self.generation())
    }

    /// One step of a key that has a slot, and what follows from it for memory.
    fn step<R>(&self, hash: KeyHash, step: impl FnOnce(&mut Slot<K, V>) -> R) -> Option<R> {
        let mut shard = self.shard(hash);
        let slot = shard.get_mut(&hash)?;
        let result = step(slot);
        self.reflect(hash, slot, self.generation());
        if slot.is_idle() {
            shard.remove(&hash);
        }
        Some(result)
    }

    /// Lets memory hold what the slot shows.
    fn reflect(&self, hash: KeyHash, slot: &Slot<K, V>, generation: u64) {
        match slot.entry(generation, Instant::now()) {
            Some((value, version)) => {
                if !self.memory.confirm(hash, &value, version, generation) {
                    self.memory.hold(hash, Entry::new(slot.key.clone(), value, version, generation));
                }
            }
            None => self.memory.drop_entry(hash),
        }
    }
}

impl<K: Key, V: Serialize + DeserializeOwned + Send + Sync + 'static> Preview<V> for Table<K, V> {
    fn preview(&self, patch: &Patch, value: &Value<V>) -> Option<Value<V>> {
        self.try_preview(patch, value).ok()
    }

    fn coalesce(&self, earlier: Patch, later: Patch) -> Result<Patch, Box<(Patch, Patch)>> {
        earlier.coalesce(later, |field| self.rule(field))
    }
}
