//! Misses become loads: at once while the loader is idle, gathered into one statement while one is under way.
//!
//! Loads run in tasks of the client, not in the reader that missed, so that a reader that gives up stops nobody.

use super::Reads;
use super::standby::{Asked, Standby};
use crate::codec::key::{self, Key};
use crate::codec::row;
use crate::codec::schema::Schema;
use crate::codec::value::{CacheValue, Value};
use crate::common::lock::lock;
use crate::entries::Entries;
use crate::entries::session::Session;
use crate::entries::slot::Loaded;
use crate::error::{Error, ErrorKind};
use crate::pg::{LOAD_COLUMNS, LoadState, LoadStatement, Loading, Store};
use cache_sync_core::hlc;
use cache_sync_core::number::{KeyHash, Sequence, Version};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::Row;

/// Keys in one statement.
const LOAD_KEYS_MAX: usize = 1000;

/// Loads rows of one table, in a task of its own.
pub(crate) struct Loader<K, V> {
    reads: Arc<Reads<K, V>>,
    store: Arc<Store>,
    standby: Option<Arc<Standby>>,
    statement: LoadStatement,
}

/// A key whose load is about to be sent.
struct Wanted<K> {
    hash: KeyHash,
    key: K,
    flight: u64,
}

/// Under what a statement's rows were loaded.
struct Circumstances {
    sent: Instant,
    /// The last batch of this client that the statement's snapshot contained.
    last_seq: Sequence,
    /// The feed is live and speaks to the same server.
    trusted: bool,
}

impl<K: Key, V: CacheValue> Loader<K, V> {
    pub(crate) fn new(reads: Arc<Reads<K, V>>, store: Arc<Store>, standby: Option<Arc<Standby>>) -> Loader<K, V> {
        let statement = LoadStatement::new(&reads.entries.schema);
        Loader { reads, store, standby, statement }
    }

    /// Loads until its task is ended.
    pub(crate) async fn run(self) {
        let entries = &*self.reads.entries;
        loop {
            let hashes = self.reads.wanted.take(LOAD_KEYS_MAX).await;
            let wanted = hashes.into_iter().filter_map(|hash| {
                let (flight, key) = entries.start_load(hash)?;
                Some(Wanted { hash, key, flight })
            });
            let wanted = wanted.collect();
            self.load(wanted).await;
        }
    }

    async fn load(&self, wanted: Vec<Wanted<K>>) {
        let entries = &*self.reads.entries;
        let session = entries.numbering.session();
        let live = entries.common.freshness.is_live();
        let wanted: Vec<_> = wanted.into_iter().filter(|wanted| self.may_exist(wanted, live)).collect();
        if wanted.is_empty() {
            return;
        }
        entries.counters.load_statements.add(1);
        entries.counters.loaded_keys.add(wanted.len() as u64);
        let sent = Instant::now();
        match self.rows(&wanted, session, live).await {
            Ok((state, rows)) => {
                let trusted = live && state.epoch.0 == entries.common.freshness.epoch();
                let under = Circumstances { sent, last_seq: session.to_client(state.last_seq), trusted };
                rows.iter().for_each(|row| self.take_row(&wanted, row, &under));
            }
            Err(error) => wanted.iter().for_each(|wanted| entries.load_failed(wanted.hash, wanted.flight, &error)),
        }
    }

    /// The rows, from the standby if it has all that must be in them, else from the primary.
    async fn rows(&self, wanted: &[Wanted<K>], session: Session, live: bool) -> Result<(LoadState, Vec<Row>), Error> {
        let entries = &*self.reads.entries;
        let keys: Vec<K> = wanted.iter().map(|wanted| wanted.key.clone()).collect();
        let hashes = || wanted.iter().map(|wanted| wanted.hash);
        let loading = Loading { session: session.id, meta: &entries.schema.meta, keys: &keys };
        let (settled, seen) = (entries.numbering.settled(), lock(&self.reads.seen).needed(hashes()));
        if let Some((standby, needed)) = self.standby.as_ref().filter(|_| live).zip(seen) {
            let asked = Asked { statement: &self.statement, loading: &loading, needed };
            let has_own_batches = |state: &LoadState| {
                settled == Sequence(0) || (state.last_seq.0 >= 0 && session.to_client(state.last_seq) >= settled)
            };
            let freshness = &entries.common.freshness;
            if let Some(loaded) = standby.load(&self.store, freshness, &asked, has_own_batches).await {
                return Ok(loaded);
            }
        }
        let invalidations = lock(&self.reads.seen).invalidations();
        let loaded = self.store.load(&self.statement, &loading).await?;
        if self.standby.is_some() {
            lock(&self.reads.seen).note(hashes(), loaded.0.lsn, invalidations);
        }
        Ok(loaded)
    }

    /// A key out of its column's range has no row; one of another type is a mistake. Neither is worth a statement.
    fn may_exist(&self, wanted: &Wanted<K>, live: bool) -> bool {
        let entries = &*self.reads.entries;
        let last_seq = Sequence(i64::MAX);
        let absent = Loaded { value: None, version: Version::NONE, expires: None, last_seq, trusted: live };
        match key::fits(&wanted.key, &entries.schema.meta.key) {
            Ok(true) => return true,
            Ok(false) => self.loaded(wanted, &absent),
            Err(error) => {
                let error = Error::new(ErrorKind::Mismatch, error.to_string());
                entries.load_failed(wanted.hash, wanted.flight, &error);
            }
        }
        false
    }

    fn take_row(&self, wanted: &[Wanted<K>], row: &Row, under: &Circumstances) {
        let entries = &*self.reads.entries;
        let place: i64 = row.get(1);
        let Some(wanted) = usize::try_from(place - 1).ok().and_then(|place| wanted.get(place)) else { return };
        let exists: bool = row.get(2);
        let value = match exists.then(|| decode(&entries.schema, row)).transpose() {
            Ok(value) => value,
            Err(error) => return entries.load_failed(wanted.hash, wanted.flight, &error),
        };
        let version = if exists { believable(entries, Version(row.get(3))) } else { Version::NONE };
        let good_for: Option<i64> = row.get(4);
        let good_for = good_for.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs()));
        let expires = good_for.and_then(|good_for| under.sent.checked_add(good_for));
        let (last_seq, trusted) = (under.last_seq, under.trusted);
        self.loaded(wanted, &Loaded { value, version, expires, last_seq, trusted });
    }

    fn loaded(&self, wanted: &Wanted<K>, loaded: &Loaded<V>) {
        if self.reads.entries.loaded(wanted.hash, wanted.flight, loaded) {
            self.reads.wanted.push(wanted.hash);
        }
    }
}

/// Loads one row past the cache.
pub(crate) async fn load_one<K: Key, V: CacheValue>(
    entries: &Entries<K, V>,
    store: &Store,
    key: &K,
) -> Result<Value<V>, Error> {
    let statement = LoadStatement::new(&entries.schema);
    let session = entries.numbering.session().id;
    let loading = Loading { session, meta: &entries.schema.meta, keys: std::slice::from_ref(key) };
    let (_, rows) = store.load(&statement, &loading).await?;
    rows.first().filter(|row| row.get(2)).map(|row| decode(&entries.schema, row)).transpose()
}

fn decode<V: CacheValue>(schema: &Schema, row: &Row) -> Result<Arc<V>, Error> {
    row::decode::<V>(&schema.layout, row, LOAD_COLUMNS).map(Arc::new).map_err(|error| {
        let message = format!("a row of table {} does not fit the type", schema.meta.name);
        Error::caused(ErrorKind::Value, message, error)
    })
}

/// A version far ahead of the server's clock was written by hand, and says nothing about order.
fn believable<K, V>(entries: &Entries<K, V>, version: Version) -> Version {
    match version == Version::NONE || hlc::is_plausible(version.0, entries.common.clock.hlc().0) {
        true => version,
        false => Version::NONE,
    }
}
