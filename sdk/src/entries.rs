//! What a cache holds: the one state that reads, writes and changes share. Synchronous, without any I/O.
//!
//! The lock of a key's shard is held for every step of that key; inside it only locks are taken that are held for a moment: those of
//! this folder, the clock's, the budget's, those of the keys that are wanted and of the line, moka's. Nothing waits. Order: shard, then
//! any one of them.
//!
//! ```text
//! memory      the map of what is held, and moka     slot      a key for which something is under way
//! entry       what lies in it                       hits      counted, and told to moka
//! shards      all slots, spread over locks          place     one key under its lock
//! generation  when everything held was doubted      session   the numbers of batches
//! load        what loads do to it                   outcome   what outcomes do to it
//! change      what others' changes do to it             topics    who wants to hear of a key
//! watched     a key that somebody watches           ages      until when entries are good
//! retreat     what a mode means for what is held
//! rollout     for which keys it serves              claim     what it shows, to be held against what Postgres says
//! looks       who looks at a row to change it, and whether it is written meanwhile
//! ```

mod ages;
mod change;
mod claim;
mod entry;
mod generation;
mod hits;
mod load;
mod looks;
mod memory;
mod outcome;
mod place;
mod retreat;
mod rollout;
mod session;
mod shards;
mod slot;
mod topics;
mod watched;

pub(crate) use ages::Lifetimes;
pub(crate) use claim::{Claim, Says, Standing};
pub(crate) use entry::{Answer, Entry, Lifetime, Weigher};
pub(crate) use outcome::Outcomes;
pub(crate) use place::{Place, Written};
pub(crate) use slot::{Loaded, Next, Pending, Slot};
pub(crate) use watched::Watched;

use crate::codec::key::{Key, LookUp};
use crate::codec::schema::Schema;
use crate::codec::value::{CacheValue, Value};
use crate::common::Common;
use crate::common::capacity::Capacity;
use crate::common::counters::Counters;
use crate::common::time::Moment;
use crate::common::trouble::Seldom;
use crate::config::{Ages, CacheConfig, Mode};
use crate::error::{Error, ErrorKind};
use crate::meter::TableMeter;
use ages::Idling;
use cache_sync_core::number::KeyHash;
use cache_sync_core::patch::RowPatch;
use generation::Generations;
use memory::Memory;
use rollout::Rollout;
use session::Numbering;
use shards::Shards;
use slot::Preview;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Has a key loaded again, for whose load nobody waits; whether it is now.
pub(crate) type Refresher<K> = Box<dyn Fn(&K, KeyHash) -> bool + Send + Sync>;

/// What all handles of one cache hold.
pub(crate) struct Entries<K, V> {
    pub(crate) schema: Schema,
    pub(crate) common: Arc<Common>,
    pub(crate) counters: Counters,
    pub(crate) meter: TableMeter,
    pub(crate) numbering: Numbering,
    memory: Memory<K, V>,
    ages: Ages,
    idling: Option<Idling>,
    generations: Generations,
    rollout: Rollout,
    shards: Shards<K, V>,
    /// The table is no longer attached as it was, or keys are hashed anew: nothing that is held can be told apart any more.
    retired: AtomicBool,
    /// For how long what a change has replaced is served.
    stale_while_refreshing: Duration,
    /// What is read is to be loaded again when it changes.
    refreshes: bool,
    refresher: OnceLock<Refresher<K>>,
    /// When somebody has caught up last, as a [`Moment`].
    caught_up: AtomicU64,
    /// Patches that Postgres refuses may be many.
    refusals_said: Seldom,
}

impl<K: Key, V: CacheValue> Entries<K, V> {
    pub(crate) fn new(
        schema: Schema,
        config: &CacheConfig,
        weigher: Option<Weigher<K, V>>,
        common: Arc<Common>,
    ) -> Entries<K, V> {
        let entries = Entries {
            memory: Memory::new(Capacity::new(config.max_capacity, config.bytes_max()), weigher, &config.ages),
            stale_while_refreshing: config.stale_while_refreshing,
            refreshes: config.refresh_on_change,
            refresher: OnceLock::new(),
            caught_up: AtomicU64::new(0),
            ages: config.ages,
            idling: Idling::of(&config.ages),
            generations: Generations::new(),
            rollout: Rollout::new(config),
            shards: Shards::new(),
            counters: Counters::default(),
            meter: common.meter.of_table(|| schema.display_name()),
            numbering: Numbering::new(),
            retired: AtomicBool::new(false),
            refusals_said: Seldom::default(),
            schema,
            common,
        };
        entries.generations.serve(config.mode == Mode::On);
        entries
    }

    /// Who has keys loaded again that were read and have changed. The first one counts.
    pub(crate) fn set_refresher(&self, refresher: Refresher<K>) {
        let _ = self.refresher.set(refresher);
    }

    /// Has it loaded again. Where that cannot be, nothing is kept for it that nobody may be served.
    pub(crate) fn refresh(&self, key: &K, hash: KeyHash) {
        if self.refresher.get().is_some_and(|refresh| refresh(key, hash)) {
            return;
        }
        let (mut place, now) = (self.place(hash), self.common.now());
        let is_over = self.memory.peek(hash, |entry| entry.lifetime().is_over(now));
        if is_over == Some(true) && place.slot().is_none() {
            self.memory.drop_entry(hash);
        }
    }

    /// Everything that was committed before then shows.
    pub(crate) fn caught_up(&self) -> Moment {
        Moment::from_nanos(self.caught_up.load(Ordering::Acquire))
    }

    /// A read was answered with what a change has replaced: it counts as one for what stays.
    pub(crate) fn count_replaced(&self, hash: KeyHash) {
        self.counters.replaced_served.add(1);
        self.memory.peek(hash, |entry| entry.set_used(self.common.now()));
        self.memory.tell(hash);
    }

    /// Until when what was true at `as_of` is good: for so long if its row expires, and no longer than the cache says.
    pub(crate) fn lifetimes(&self, hash: KeyHash, as_of: Moment, good_for: Option<Duration>) -> Lifetimes {
        ages::lifetimes(&self.ages, hash, as_of, good_for)
    }

    /// A read: shows what memory holds for the key, if it may be served. That is asked after it was found, so whatever makes it
    /// doubtful meanwhile is seen, or came after it. What `look` does not take was no read.
    #[inline]
    pub(crate) fn read<Q: ?Sized, R>(
        &self,
        by: &Q,
        hash: KeyHash,
        look: impl FnOnce(&Entry<K, V>) -> Option<R>,
    ) -> Option<R>
    where
        K: LookUp<Q>,
    {
        let sample = self.meter.sample();
        let mut is_noted = false;
        let found = self.memory.read(hash, by, |entry| {
            let is_good = |now| self.is_served(entry, hash, now) && self.common.freshness.is_live(now);
            // What is good a moment later is good now. Only what is close to its end needs the exact time.
            let found = if is_good(self.common.latest()) || is_good(self.common.now()) { look(entry) } else { None }?;
            if let Some(idling) = self.idling {
                let now = self.common.now();
                is_noted = idling.counts(entry.used_at(), now);
                if is_noted {
                    entry.set_used(now);
                }
            }
            Some(found)
        });
        if is_noted {
            // moka lets go of what it does not hear of for as long.
            self.memory.tell(hash);
        }
        if found.is_some() {
            self.meter.hit(sample, || self.common.freshness.doubt(self.common.now()));
        }
        found
    }

    /// Shows what memory holds for the key, whether it may be served or not, to somebody who does not count as a reader.
    pub(crate) fn peek<R>(&self, key: &K, hash: KeyHash, look: impl FnOnce(&Entry<K, V>) -> R) -> Option<R> {
        self.memory.peek(hash, |entry| (entry.key() == key).then(|| look(entry))).flatten()
    }

    /// A read was answered by the key's slot.
    pub(crate) fn count_hit(&self) {
        self.memory.count_hit();
    }

    /// A read has to load the key.
    pub(crate) fn count_miss(&self, hash: KeyHash) {
        self.counters.misses.add(1);
        self.memory.missed(hash);
    }

    /// A write of the key was accepted.
    pub(crate) fn count_write(&self, hash: KeyHash) {
        self.counters.writes.add(1);
        self.memory.written(hash);
    }

    pub(crate) fn hits(&self) -> u64 {
        self.memory.hits()
    }

    /// Whether an entry has not been doubted since it was confirmed, nor expired.
    #[inline]
    pub(crate) fn is_current(&self, entry: &Entry<K, V>, now: Moment) -> bool {
        entry.generation == self.generation() && self.is_good(entry, now)
    }

    /// The same, where such entries are served.
    #[inline]
    fn is_served(&self, entry: &Entry<K, V>, hash: KeyHash, now: Moment) -> bool {
        (entry.generation == self.generations.serving() || self.is_served_by_its_key(entry, hash))
            && self.is_good(entry, now)
    }

    #[cold]
    fn is_served_by_its_key(&self, entry: &Entry<K, V>, hash: KeyHash) -> bool {
        matches!(self.mode(), Mode::Canary(_)) && self.is_serving(hash) && entry.generation == self.generation()
    }

    #[inline]
    fn is_good(&self, entry: &Entry<K, V>, now: Moment) -> bool {
        !entry.lifetime().is_over(now) && !self.idling.is_some_and(|idling| idling.is_over(entry.used_at(), now))
    }

    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generations.current()
    }

    /// Everything that is held and may be served, by key.
    pub(crate) fn all(&self) -> Vec<(K, Option<Arc<V>>)> {
        let now = self.common.now();
        let live = self.common.freshness.is_live(now);
        let mut usable = Vec::new();
        self.memory.each(|entry| {
            if live && self.is_current(entry, now) && self.is_serving(self.schema.hash::<K, K>(entry.key())) {
                usable.push((entry.key().clone(), entry.value.clone()));
            }
        });
        usable
    }

    pub(crate) fn len(&self) -> u64 {
        self.memory.len()
    }

    /// How long ago what was confirmed in this generation was last known to be in step.
    pub(crate) fn doubt(&self, generation: u64) -> Duration {
        if generation == self.generation() {
            return self.common.freshness.doubt(self.common.now());
        }
        self.generations.in_step_at(generation).map_or(Duration::MAX, |as_of| self.common.now().since(as_of))
    }

    /// How long ago what is held was last known to be in step, if nothing has happened since but silence.
    pub(crate) fn doubt_now(&self) -> Duration {
        self.doubt(self.generation())
    }

    pub(crate) fn check_usable(&self) -> Result<(), Error> {
        self.common.check_open()?;
        if self.is_retired() { Err(self.retirement()) } else { Ok(()) }
    }

    /// What callers hear of a cache that has retired.
    pub(crate) fn retirement(&self) -> Error {
        let name = self.schema.display_name();
        let message = format!("the table {name} is no longer attached as it was when it was opened; open it again");
        Error::new(ErrorKind::Mismatch, message)
    }

    /// The name means another table now, or none, or its keys are hashed anew.
    pub(crate) fn retire(&self) {
        if !self.retired.swap(true, Ordering::AcqRel) {
            let table = self.schema.display_name();
            tracing::error!(table, "the table is no longer what it was; its cache must be opened again");
        }
        self.raise_generation();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}

impl<V: CacheValue> Preview<V> for Schema {
    fn preview(&self, patch: &RowPatch, value: &Value<V>) -> Option<Value<V>> {
        Schema::preview(self, patch, value).ok().flatten()
    }

    fn is_told(&self, patch: &RowPatch) -> bool {
        Schema::is_told(self, patch)
    }

    fn leaves_expiry(&self, patch: &RowPatch) -> bool {
        Schema::leaves_expiry(self, patch)
    }

    fn coalesce(&self, earlier: RowPatch, later: RowPatch) -> Result<RowPatch, Box<(RowPatch, RowPatch)>> {
        earlier.coalesce(later, |field| self.rule(field))
    }
}

#[cfg(test)]
mod tests;
