//! The settings of a cache, and how it is opened.

use super::{Cache, Handle};
use crate::change::Part;
use crate::client::{CacheTable, Client, Shared};
use crate::codec::fit;
use crate::codec::key::{self, Key};
use crate::codec::layout::{Layout, members_of};
use crate::codec::schema::Schema;
use crate::codec::value::CacheValue;
use crate::config::{CacheConfig, Durability, WhenFull};
use crate::entries::{Entries, Weigher};
use crate::error::{Error, ErrorKind};
use crate::read::{Comparer, Judge, Loader, ReadTerms, Reads};
use crate::receipt::Hindrance;
use crate::write::{Flusher, Limits, Writes};
use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

impl Client {
    /// A cache of one attached table: `K` is its key (a tuple for several columns), `V` a struct whose members are columns.
    /// `table` is a table's name as SQL would write it.
    pub fn cache<K: Key, V: CacheValue>(&self, table: &str) -> CacheBuilder<K, V> {
        CacheBuilder::new(self.shared.clone(), table)
    }
}

/// Settings of a [`Cache`] before it is opened.
#[must_use]
pub struct CacheBuilder<K, V> {
    shared: Arc<Shared>,
    name: String,
    pub(super) config: CacheConfig,
    weigher: Option<Weigher<K, V>>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> fmt::Debug for CacheBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder").field("table", &self.name).field("config", &self.config).finish_non_exhaustive()
    }
}

impl<K: Key, V: CacheValue> CacheBuilder<K, V> {
    fn new(shared: Arc<Shared>, table: &str) -> CacheBuilder<K, V> {
        CacheBuilder {
            shared,
            name: table.to_owned(),
            config: CacheConfig::default(),
            weigher: None,
            types: PhantomData,
        }
    }

    /// Entries held at most. Default 10,000.
    pub fn max_capacity(mut self, entries: u64) -> CacheBuilder<K, V> {
        self.config.max_capacity = entries;
        self
    }

    /// How many bytes the entries may take, about: each counts with its row as Postgres sends it (or as JSON, where this client wrote
    /// it) and a few hundred bytes more. Default 256 MiB, or 1 KiB for each entry of [`max_capacity`](CacheBuilder::max_capacity),
    /// whichever is more. A row that is larger is not held.
    pub fn bytes_max(mut self, bytes: u64) -> CacheBuilder<K, V> {
        self.config.bytes_max = Some(bytes);
        self
    }

    /// How many bytes a value takes, in place of what its row has: for types that take much more of memory than what is written of them, or less. It is
    /// asked whenever a value comes to be held, under a lock: it must be quick, say the same of the same value, and not use the cache. Where it panics
    /// the row's size counts.
    pub fn weigher(mut self, bytes: impl Fn(&K, &V) -> u64 + Send + Sync + 'static) -> CacheBuilder<K, V> {
        self.weigher = Some(Arc::new(bytes));
        self
    }

    /// How long an entry may be held, counted from when it was loaded or written, or its write was confirmed. Default: no
    /// limit.
    pub fn time_to_live(mut self, age: Duration) -> CacheBuilder<K, V> {
        self.config.ages.time_to_live = Some(age);
        self
    }

    /// Shortens each entry's times to live by a part of this share, by chance, so that what was loaded together is not loaded again together: 0.1 makes
    /// ten minutes nine to ten. Default 0, less than 1.
    pub fn time_to_live_jitter(mut self, share: f64) -> CacheBuilder<K, V> {
        self.config.ages.jitter = share;
        self
    }

    /// How long it may be held that there is no row with a key, if that is shorter than [`time_to_live`](CacheBuilder::time_to_live). Default: as
    /// long as a row.
    pub fn absent_time_to_live(mut self, age: Duration) -> CacheBuilder<K, V> {
        self.config.ages.absent_time_to_live = Some(age);
        self
    }

    /// How long an entry is held that nobody reads or writes, within a hundredth; what others change does not count. Default: no limit.
    pub fn time_to_idle(mut self, time: Duration) -> CacheBuilder<K, V> {
        self.config.ages.time_to_idle = Some(time);
        self
    }

    /// Has an entry loaded again, while it is still served, when it is read and no more than this share of its
    /// [`time_to_live`](CacheBuilder::time_to_live) is left: who reads it often never waits for it. Default 0: not at all; with
    /// [`time_to_live_jitter`](CacheBuilder::time_to_live_jitter) less than 1. Rows that expire by themselves are not, nor what is missing. After a load that
    /// failed there is none for a second.
    pub fn refresh_ahead(mut self, share: f64) -> CacheBuilder<K, V> {
        self.config.ages.refresh_ahead = share;
        self
    }

    /// Has a row loaded again as soon as somebody else has changed it: its next reader finds it, or waits for what is left of the load. Default: off; the
    /// next reader has it loaded.
    ///
    /// Where it is on, the next reader still has to where nobody has read the row the last seven times that it was loaded, where this client is just
    /// writing it, for a second after a load that failed, and while many keys wait for loads.
    pub fn refresh_on_change(mut self, refreshes: bool) -> CacheBuilder<K, V> {
        self.config.refresh_on_change = refreshes;
        self
    }

    /// For how long after a change was heard a row is still served as it was before, while one load brings what it is now: nobody waits for that. The same
    /// after a gap in the feed, and in its silence. What is read is behind by so much more than
    /// [`ClientBuilder::feed_timeout`](crate::ClientBuilder::feed_timeout) allows, at most, and [`Cache::lookup`](crate::Cache::lookup) says of which
    /// answer that is so. Default zero: who reads a row that has changed waits for the load.
    ///
    /// Only [`Freshness::Cached`](crate::Freshness) is served so, and never to who watches or updates a row, nor of one that has expired; what this client
    /// writes shows at once, and so does what [`Client::catch_up`](crate::Client::catch_up) or [`Client::wait_for`](crate::Client::wait_for) has waited for.
    pub fn stale_while_refreshing(mut self, bound: Duration) -> CacheBuilder<K, V> {
        self.config.stale_while_refreshing = bound;
        self
    }

    /// How many statements may load rows of this cache at a time, beside that of a reader who has found nothing under way; what misses meanwhile goes
    /// together into the next. Default 2, from 1 to 64. Each
    /// takes a connection of the pool ([`ClientBuilder::pool_size`](crate::ClientBuilder::pool_size)).
    pub fn loads_max(mut self, loads: usize) -> CacheBuilder<K, V> {
        self.config.loads_max = loads;
        self
    }

    /// How many keys may wait until a statement is sent for them, those that one is under way for not counted. Reads of any more fail at once
    /// ([`Error::is_overloaded`]), rather than wait longer and longer, unless the cache may serve what is stale; so does [`Cache::get_many`](crate::Cache::get_many) for more keys
    /// than that, since it asks for all of them at once. Default: no limit; at least 1.
    pub fn waiting_keys_max(mut self, keys: usize) -> CacheBuilder<K, V> {
        self.config.waiting_keys_max = keys;
        self
    }

    /// Whether reads that have to ask Postgres fail at once while it is known to be away ([`Error::is_unavailable`]), rather than each try by itself;
    /// one of them now and then looks whether it is back, every 0.1 s to 2 s. Default: they try.
    pub fn fail_fast(mut self, fails_fast: bool) -> CacheBuilder<K, V> {
        self.config.fails_fast = fails_fast;
        self
    }

    /// How long a write of this cache may wait for others to share its batch, up to an hour. Default: that of
    /// [`ClientBuilder::flush_interval`](crate::ClientBuilder::flush_interval).
    pub fn flush_interval(mut self, interval: Duration) -> CacheBuilder<K, V> {
        self.config.flush_interval = Some(interval);
        self
    }

    /// Patches in one batch of this cache, from 1 to 10,000. Default: that of [`ClientBuilder::batch_entries_max`](crate::ClientBuilder::batch_entries_max).
    pub fn batch_entries_max(mut self, entries: usize) -> CacheBuilder<K, V> {
        self.config.batch_entries_max = Some(entries);
        self
    }

    /// How many patches of this cache may wait for Postgres, so that it leaves room in the client's buffer
    /// ([`ClientBuilder::buffer_entries_max`](crate::ClientBuilder::buffer_entries_max)) for others. Default: as many as there is room for there.
    pub fn buffer_entries_max(mut self, entries: usize) -> CacheBuilder<K, V> {
        self.config.buffer_entries_max = Some(entries);
        self
    }

    /// How many bytes of patches of this cache may wait for Postgres, at least 1 KiB. Default: as many as there is room for in the client's buffer
    /// ([`ClientBuilder::buffer_bytes_max`](crate::ClientBuilder::buffer_bytes_max)).
    pub fn buffer_bytes_max(mut self, bytes: usize) -> CacheBuilder<K, V> {
        self.config.buffer_bytes_max = Some(bytes);
        self
    }

    /// What a write of this cache does when there is no room for it, in its own bounds or in those of the client. Default: that of
    /// [`ClientBuilder::when_full`](crate::ClientBuilder::when_full).
    pub fn when_full(mut self, when_full: WhenFull) -> CacheBuilder<K, V> {
        self.config.when_full = Some(when_full);
        self
    }

    /// When writes return. Default [`Durability::Memory`].
    pub fn durability(mut self, durability: Durability) -> CacheBuilder<K, V> {
        self.config.durability = durability;
        self
    }

    /// How long calls wait for a write of this cache. Default: that of
    /// [`ClientBuilder::write_timeout`](crate::ClientBuilder::write_timeout).
    pub fn write_timeout(mut self, timeout: Duration) -> CacheBuilder<K, V> {
        self.config.write_timeout = Some(timeout);
        self
    }

    /// For how long entries may be served while Postgres cannot be asked; zero: not at all. Default: that of
    /// [`ClientBuilder::stale_while_unavailable`](crate::ClientBuilder::stale_while_unavailable), which is zero.
    /// [`Cache::lookup`](crate::Cache::lookup) says of which answer that is so.
    pub fn stale_while_unavailable(mut self, bound: Duration) -> CacheBuilder<K, V> {
        self.config.stale_while_unavailable = Some(bound);
        self
    }

    /// How long a read waits for Postgres before it is answered with what is held, where that is allowed. Default: that of
    /// [`ClientBuilder::stale_after`](crate::ClientBuilder::stale_after).
    pub fn stale_after(mut self, wait: Duration) -> CacheBuilder<K, V> {
        self.config.stale_after = Some(wait);
        self
    }

    /// The columns that `V` reads and writes. Needed for maps and types with flattened members; a struct tells its own. A member that is read
    /// by several names (`#[serde(alias)]`) is the column that bears one of them.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> CacheBuilder<K, V> {
        self.config.members = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Opens the cache: checks that table and types fit, and subscribes to the table's changes.
    ///
    /// A table may be opened several times with other types each, for callers that want other columns of it. Those are caches of their
    /// own, as if in other processes: what is written through one shows in the others once it is in Postgres and the feed has told
    /// of it, for which [`Client::flush`] and then [`Client::catch_up`] wait.
    ///
    /// # Errors
    /// When the table is not attached, `K` or `V` does not fit it (the message names the member, both types, and what mends it), the
    /// client has a cache of it with the same types already, or the feed does not answer ([`Error::is_unavailable`]).
    pub async fn open(self) -> Result<Cache<K, V>, Error> {
        let CacheBuilder { shared, name, config, weigher, .. } = self;
        shared.common.check_open()?;
        config.check(&shared.config)?;
        let schema = schema_of::<K, V>(&shared, &name, &config).await?;
        let (id, types) = (schema.table_id(), TypeId::of::<(K, V)>());
        let entries = Arc::new(Entries::new(schema, &config, weigher, shared.common.clone()));
        let limits = Limits {
            durability: config.durability,
            batch_entries_max: config.batch_entries_max(&shared.config),
            flush_interval: config.flush_interval(&shared.config),
        };
        let write_timeout = config.write_timeout.unwrap_or(shared.config.write_timeout);
        let hindrance = Hindrance::new(
            entries.schema.display_name(),
            write_timeout,
            shared.supervisor.runtime(),
            shared.hindrances.clone(),
        );
        let budget = match config.buffer(&shared.config) {
            Some(buffer) => shared.budget.part(buffer),
            None => shared.budget.clone(),
        };
        let (store, standby) = (shared.store.clone(), shared.standby.clone());
        let terms = ReadTerms::of(&config, &shared.config);
        let reads = Arc::new(Reads::new(entries.clone(), store, standby, terms));
        if config.refresh_on_change {
            let reads = Arc::downgrade(&reads);
            entries.set_refresher(Box::new(move |key, hash| {
                reads.upgrade().is_some_and(|reads| reads.refresh(key, hash))
            }));
        }
        let writes = Arc::new(Writes::new(entries.clone(), budget, hindrance, limits));
        let table: Arc<dyn CacheTable> = writes.clone();
        shared.add_table((id, types), table.clone()).await?;
        let opening = Opening { shared: &shared, table: &table };
        let handle = {
            let (shared, reads, writes, entries) = (shared.clone(), reads.clone(), writes.clone(), entries.clone());
            Handle(Some(Box::new(move || {
                // What is not told of changes any more is not to be held against them.
                reads.stop_comparing();
                // Before the rest, so that whoever opens the table next registers after that.
                shared.feed.unregister(id, Part::Rows(types), &*entries);
                reads.leave();
                writes.leave();
            })))
        };
        let cache = Cache { shared: shared.clone(), reads, writes, handle: Arc::new(handle) };
        let registration = shared.feed.register(id, Part::Rows(types), entries);
        shared.feed.subscribed(registration, &shared.store).await?;
        start_tasks(&cache, &table, config.loads_max);
        std::mem::forget(opening);
        Ok(cache)
    }
}

/// What is known of the table; `K` and `V` fit.
async fn schema_of<K: Key, V: CacheValue>(shared: &Shared, name: &str, config: &CacheConfig) -> Result<Schema, Error> {
    let meta = shared.store.describe(name).await?;
    let misfit = |error: &dyn std::fmt::Display| Error::new(ErrorKind::Mismatch, error.to_string());
    let of_table = |error: &dyn std::fmt::Display| {
        misfit(&format_args!("the type does not fit the table {}.{}: {error}", meta.schema, meta.name))
    };
    key::check::<K>(&meta.key).map_err(|error| of_table(&error))?;
    let declared: Option<Vec<Vec<&str>>> =
        config.members.as_ref().map(|members| members.iter().map(|member| vec![member.as_str()]).collect());
    let members = declared.or_else(|| members_of::<V>());
    let mut layout = Layout::new(members.as_deref(), &meta).map_err(|error| misfit(&error))?;
    shared.store.resolve(&meta, &mut layout).await?;
    fit::check::<V>(&layout).map_err(|error| of_table(&error))?;
    Ok(Schema::new(meta, layout))
}

/// A table that is being opened; taken back when that fails, or whoever opens it gives up.
struct Opening<'a> {
    shared: &'a Shared,
    table: &'a Arc<dyn CacheTable>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.shared.remove_table(self.table);
    }
}

fn start_tasks<K: Key, V: CacheValue>(cache: &Cache<K, V>, table: &Arc<dyn CacheTable>, loaders: usize) {
    let Cache { shared, reads, writes, .. } = cache;
    for _ in 0..loaders {
        shared.supervisor.spawn(Some(table.clone()), Loader(reads.clone()).run());
        shared.supervisor.spawn(Some(table.clone()), Comparer(reads.clone()).answer_readers());
    }
    shared.supervisor.spawn(Some(table.clone()), Comparer(reads.clone()).look_after_hits());
    shared.supervisor.spawn(Some(table.clone()), Judge(reads.clone()).run());
    let flusher = Flusher {
        writes: writes.clone(),
        connection: shared.batch_connection.clone(),
        apply_timeout: shared.config.query_timeout,
    };
    // A task does not keep its client alive.
    let (client, table) = (Arc::downgrade(shared), table.clone());
    shared.supervisor.spawn(Some(table.clone()), async move {
        flusher.run().await;
        if let Some(shared) = client.upgrade() {
            shared.remove_table(&table);
        }
    });
}
