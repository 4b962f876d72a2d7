//! What users hold: reads, writes, and what a table tells its client.

mod key_check;

use crate::config::{CacheConfig, Durability};
use crate::edit::Patch;
use crate::error::{Error, Kind};
use crate::feed::Part;
use crate::fields;
use crate::flusher::Flusher;
use crate::key::{self, Key};
use crate::layout::{Layout, Role, members_of};
use crate::loader;
use crate::receipt::{Outcome, Receipt};
use crate::shared::{CacheTable, Shared};
use crate::status::CacheStatus;
use crate::store::within;
use crate::table::{Found, Refused, Table, Write, WriteKind};
use cache_sync_core::fields::Fields;
use cache_sync_core::number::{KeyHash, TableId, Version};
use cache_sync_core::outcome::Verdict;
use futures_util::future::join_all;
use key_check::contradiction;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Tasks that load rows of one table: while one waits for its statement, another can send the next.
const LOADERS: usize = 2;

/// A per-key cache of one table that stays in step with it. Cloning it is cheap; all clones are one cache.
pub struct Cache<K, V> {
    shared: Arc<Shared>,
    table: Arc<Table<K, V>>,
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Cache<K, V> {
        Cache { shared: self.shared.clone(), table: self.table.clone() }
    }
}

/// A value with what is known about it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Read<V> {
    /// The row, or `None` if there is none.
    pub value: Option<Arc<V>>,
    /// The version of the row as it was loaded or written last; writes that Postgres does not have yet are in the value
    /// but not in the version. [`Version::NONE`] on plain tables, and where the version is not known.
    pub version: Version,
    /// `None` while the feed is heard: the value is at most the staleness bound old. Else the value could not be
    /// confirmed, and this is the time for which it has been in doubt.
    pub stale_for: Option<Duration>,
}

/// Settings of a [`Cache`] before it is opened.
#[must_use]
pub struct CacheBuilder<K, V> {
    shared: Arc<Shared>,
    name: String,
    config: CacheConfig,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> CacheBuilder<K, V>
where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    pub(crate) fn new(shared: Arc<Shared>, table: &str) -> CacheBuilder<K, V> {
        CacheBuilder { shared, name: table.to_owned(), config: CacheConfig::default(), types: PhantomData }
    }

    /// Entries held at most. Default 10,000.
    pub fn max_capacity(mut self, entries: u64) -> CacheBuilder<K, V> {
        self.config.max_capacity = entries;
        self
    }

    /// How long an entry may be held, counted from when it was loaded or written, or its write was confirmed. Default: no
    /// limit.
    pub fn time_to_live(mut self, age: Duration) -> CacheBuilder<K, V> {
        self.config.time_to_live = Some(age);
        self
    }

    /// When writes return. Default [`Durability::Memory`].
    pub fn durability(mut self, durability: Durability) -> CacheBuilder<K, V> {
        self.config.durability = durability;
        self
    }

    /// The columns that `V` reads and writes. Needed for maps and types with flattened members; a struct tells its own.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> CacheBuilder<K, V> {
        self.config.members = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Opens the cache: checks that table and types fit, and subscribes to the table's changes.
    ///
    /// # Errors
    /// When the table is not attached, `K` or `V` does not fit it, the client has a cache of it already, or the feed does
    /// not answer ([`Error::is_unavailable`]).
    pub async fn open(self) -> Result<Cache<K, V>, Error> {
        let CacheBuilder { shared, name, config, .. } = self;
        let (oid, meta) = shared.store.describe(&name).await?;
        let misfit = |error: &dyn std::fmt::Display| Error::new(Kind::Mismatch, error.to_string());
        key::check::<K>(&meta.key).map_err(|error| misfit(&error))?;
        let declared: Option<Vec<&str>> =
            config.members.as_ref().map(|members| members.iter().map(String::as_str).collect());
        let members = declared.as_deref().or_else(|| members_of::<V>());
        let mut layout = Layout::new(members, &meta).map_err(|error| misfit(&error))?;
        shared.store.resolve(&meta, &mut layout).await?;
        let id = meta.table_id;
        let table = Arc::new(Table::new(meta, layout, config, shared.common.clone()));
        shared.add_table(id, table.clone())?;
        let opening = Opening { shared: &shared, id };
        let registration = shared.feed.register(id, Part::Rows, table.clone());
        within("subscribing to the table's changes", shared.config.query_timeout, async {
            shared.feed.served(registration).await;
            Ok(())
        })
        .await?;
        std::mem::forget(opening);
        start_tasks(&shared, &table, oid);
        Ok(Cache { shared, table })
    }
}

/// A table that is being opened; taken back when that fails, or whoever opens it gives up.
struct Opening<'a> {
    shared: &'a Shared,
    id: TableId,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.shared.remove_table(self.id);
    }
}

fn start_tasks<K, V>(shared: &Shared, table: &Arc<Table<K, V>>, oid: u32)
where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    for _ in 0..LOADERS {
        shared.spawn(Some(table.clone()), loader::run(table.clone(), (shared.store.clone(), shared.standby.clone())));
    }
    let flusher = Flusher {
        table: table.clone(),
        connection: shared.flush_connection.clone(),
        oid,
        flush_interval: shared.config.flush_interval,
        apply_timeout: shared.config.query_timeout,
    };
    shared.spawn(Some(table.clone()), flusher.run());
}

impl<K, V> Cache<K, V>
where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// The row, from memory if it is held, else loaded. `None`: there is no such row.
    ///
    /// Writes of this client that Postgres does not have yet are already in it.
    ///
    /// # Errors
    /// [`Error::is_unavailable`] when it must be loaded and Postgres cannot be reached.
    pub async fn get(&self, key: &K) -> Result<Option<Arc<V>>, Error> {
        let hash = self.table.hash(key);
        match self.table.hit(key, hash) {
            Some(entry) => Ok(entry.value),
            None => self.load(key, hash).await.map(|read| read.value),
        }
    }

    /// As [`Cache::get`], and says whether the value could be confirmed.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn read(&self, key: &K) -> Result<Read<V>, Error> {
        let hash = self.table.hash(key);
        match self.table.hit(key, hash) {
            Some(entry) => Ok(Read { value: entry.value, version: entry.version, stale_for: None }),
            None => self.load(key, hash).await,
        }
    }

    /// The row if memory holds it; never loads. The outer `None`: it is not held, or may not be served.
    pub fn cached(&self, key: &K) -> Option<Option<Arc<V>>> {
        self.table.hit(key, self.table.hash(key)).map(|entry| entry.value)
    }

    /// As [`Cache::cached`], with what is known about the value.
    pub fn held(&self, key: &K) -> Option<Read<V>> {
        let entry = self.table.hit(key, self.table.hash(key))?;
        Some(Read { value: entry.value, version: entry.version, stale_for: None })
    }

    /// The rows in the order of the keys. What is not held is loaded in batches.
    ///
    /// # Errors
    /// As [`Cache::get`], for the first key that fails.
    pub async fn get_many(&self, keys: &[K]) -> Result<Vec<Option<Arc<V>>>, Error> {
        join_all(keys.iter().map(|key| self.get(key))).await.into_iter().collect()
    }

    async fn load(&self, key: &K, hash: KeyHash) -> Result<Read<V>, Error> {
        let receiver = match self.table.look_up(key, hash)? {
            Found::Here((value, version)) => return Ok(Read { value, version, stale_for: None }),
            Found::Loading(receiver) => receiver,
            Found::Collision => return self.load_past_cache(key).await,
        };
        match receiver.await {
            Ok(Ok((value, version))) => Ok(Read { value, version, stale_for: None }),
            Ok(Err(error)) if error.is_unavailable() => match self.table.stale(key, hash) {
                Some((value, doubt)) => Ok(Read { value, version: Version::NONE, stale_for: Some(doubt) }),
                None => Err(error),
            },
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::closed()),
        }
    }

    async fn load_past_cache(&self, key: &K) -> Result<Read<V>, Error> {
        let value = loader::load_one(&self.table, &self.shared.store, key).await?;
        Ok(Read { value, version: Version::NONE, stale_for: None })
    }

    /// Writes the whole value: creates the row, or sets the members of `V` in it, leaving columns that `V` does not know
    /// and fields with rule `add` alone. If this client had seen the row and it is gone, the outcome is `missing`.
    ///
    /// # Errors
    /// [`Error::is_rule_violation`] when the value's key members contradict `key`; [`Error::is_full`] when the buffer is
    /// full and writes are to be refused.
    pub async fn put(&self, key: K, value: V) -> Result<Receipt, Error> {
        let fields = self.encode(&value)?;
        self.check_key(&key, &fields)?;
        let fields = self.writable(fields);
        let write = Write { kind: WriteKind::Put, fields, value: Some(Arc::new(value)), expected: None };
        self.accept(&key, write).await?.ok_or_else(Error::closed)
    }

    /// Changes the row: what `change` alters becomes a patch of just those fields, which the fields' rules merge into the
    /// row whatever others did to it meanwhile. `change` may run more than once.
    ///
    /// # Errors
    /// [`Error::is_missing`] when there is no such row; [`Error::is_rule_violation`] when the change cannot be expressed by
    /// a field's rule, or touches the key; [`Error::is_unavailable`] when the row must be loaded and cannot be.
    pub async fn update(&self, key: &K, change: impl Fn(&mut V)) -> Result<Receipt, Error>
    where
        V: Clone,
    {
        loop {
            let Some(before) = self.get(key).await? else {
                let message = format!("there is no row with this key in table {}", self.table.meta.name);
                return Err(Error::new(Kind::Missing, message));
            };
            let mut after = V::clone(&before);
            change(&mut after);
            let fields = fields::diff(&self.table.layout, &self.encode(&before)?, &self.encode(&after)?)
                .map_err(|error| Error::new(Kind::RuleViolation, error.to_string()))?;
            if fields.is_empty() {
                return Ok(settled(Outcome { verdict: Some(Verdict::Unchanged), ..Outcome::unknown() }));
            }
            let write = Write { kind: WriteKind::Edit, fields, value: Some(Arc::new(after)), expected: Some(before) };
            if let Some(receipt) = self.accept(key, write).await? {
                return Ok(receipt);
            }
        }
    }

    /// Changes fields without loading the row. If there is no such row, the outcome is `missing`.
    ///
    /// # Errors
    /// [`Error::is_rule_violation`] when an operation does not suit its field's rule.
    pub async fn patch(&self, key: &K, patch: Patch<'_>) -> Result<Receipt, Error> {
        let fields = patch.into_fields(&self.table.layout)?;
        let write = Write { kind: WriteKind::Edit, fields, value: None, expected: None };
        self.accept(key, write).await?.ok_or_else(Error::closed)
    }

    /// Deletes the row.
    ///
    /// # Errors
    /// [`Error::is_full`] when the buffer is full and writes are to be refused.
    pub async fn delete(&self, key: &K) -> Result<Receipt, Error> {
        let write = Write { kind: WriteKind::Delete, fields: Fields::new(), value: None, expected: None };
        self.accept(key, write).await?.ok_or_else(Error::closed)
    }

    /// Drops the entry from memory; the row is not touched, and the next read loads it.
    pub fn invalidate(&self, key: &K) {
        self.table.invalidate(key);
    }

    /// Everything that is held and may be served now. For looking inside, not for lists: what is held is chance.
    pub fn entries(&self) -> Vec<(K, Option<Arc<V>>)> {
        self.table.entries()
    }

    /// What this cache is doing.
    pub fn status(&self) -> CacheStatus {
        CacheTable::status(&*self.table)
    }

    /// `None`: the row is no longer the one that an update was computed from.
    async fn accept(&self, key: &K, mut write: Write<V>) -> Result<Option<Receipt>, Error> {
        const COLLISION_PAUSE: Duration = Duration::from_millis(1);
        let hash = self.table.hash(key);
        self.table.check_usable()?;
        if !key::fits(key, &self.table.meta.key).map_err(|error| Error::new(Kind::Mismatch, error.to_string()))? {
            return Err(Error::new(Kind::RuleViolation, "the key is out of the range of its column"));
        }
        loop {
            let reserved = write.size();
            self.table.common.room.take(reserved).await?;
            match self.table.accept(key, hash, write, reserved) {
                Ok(receipt) => return self.durable(receipt).await.map(Some),
                Err(Refused::Changed) => return Ok(None),
                Err(Refused::Error(error)) => return Err(error),
                Err(Refused::Collision(again)) => write = again,
            }
            tokio::time::sleep(COLLISION_PAUSE).await;
        }
    }

    async fn durable(&self, receipt: Receipt) -> Result<Receipt, Error> {
        if self.table.config.durability == Durability::Memory {
            return Ok(receipt);
        }
        self.table.request_flush();
        receipt.written().await.map(settled)
    }

    fn encode(&self, value: &V) -> Result<Fields, Error> {
        fields::to_fields(&self.table.layout, value)
            .map_err(|error| Error::caused(Kind::Value, "the value cannot be written", error))
    }

    fn writable(&self, fields: Fields) -> Fields {
        let columns = &self.table.layout.columns;
        fields.filter(|field| matches!(columns[usize::from(field)].role, Role::Field { .. }))
    }

    fn check_key(&self, key: &K, fields: &Fields) -> Result<(), Error> {
        match contradiction(key, &self.table.layout, fields) {
            Some(name) => {
                let message = format!("the value's member \"{name}\" is not the key that it is put under");
                Err(Error::new(Kind::RuleViolation, message))
            }
            None => Ok(()),
        }
    }
}

fn settled(outcome: Outcome) -> Receipt {
    let (sender, receiver) = oneshot::channel();
    // The receiver is right here.
    let _ = sender.send(outcome);
    Receipt(receiver)
}
