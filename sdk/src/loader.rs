//! Misses become loads: at once while the loader is idle, gathered into one statement while one is under way.
//!
//! Loads run in tasks of the client, not in the reader that missed, so that a reader that gives up stops nobody.

use crate::error::{Error, Kind};
use crate::key::{self, Key};
use crate::lock::lock;
use crate::row;
use crate::slot::{Loaded, Value};
use crate::standby::{Asked, Standby};
use crate::store::{LOAD_COLUMNS, LoadState, LoadStatement, Loading, Store};
use crate::table::{Table, Wanted};
use cache_sync_core::hlc;
use cache_sync_core::number::{Sequence, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::Row;

/// Keys in one statement.
const LOAD_KEYS_MAX: usize = 1000;

/// Loads until its task is ended.
pub(crate) async fn run<K, V>(table: Arc<Table<K, V>>, (store, standby): (Arc<Store>, Option<Arc<Standby>>))
where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let statement = LoadStatement::new(&table.meta, &table.layout);
    loop {
        let wanted = table.take_wanted(LOAD_KEYS_MAX);
        if wanted.is_empty() {
            if !table.has_wanted() {
                table.load.notified().await;
            }
            continue;
        }
        load(&table, (&store, standby.as_deref()), &statement, wanted).await;
    }
}

async fn load<K, V>(
    table: &Table<K, V>,
    (store, standby): (&Store, Option<&Standby>),
    statement: &LoadStatement,
    wanted: Vec<Wanted<K>>,
) where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let session = table.session();
    let live = table.common.freshness.is_live();
    let wanted: Vec<_> = wanted.into_iter().filter(|wanted| may_exist(table, wanted, live)).collect();
    if wanted.is_empty() {
        return;
    }
    table.counters.load_statements.add(1);
    table.counters.loaded_keys.add(wanted.len() as u64);
    let sent = Instant::now();
    let keys: Vec<K> = wanted.iter().map(|wanted| wanted.key.clone()).collect();
    let hashes = || wanted.iter().map(|wanted| wanted.hash);
    let loading = Loading { session: session.id, meta: &table.meta, keys: &keys };
    let (settled, seen) = (table.settled(), lock(&table.seen).needed(hashes()));
    let from_standby = match standby.filter(|_| live).zip(seen) {
        None => None,
        Some((standby, needed)) => {
            let asked = Asked { statement, loading: &loading, needed };
            let has_own_batches = |state: &LoadState| {
                settled == Sequence(0) || (state.last_seq.0 >= 0 && session.to_client(state.last_seq) >= settled)
            };
            standby.load(store, &table.common.freshness, &asked, has_own_batches).await
        }
    };
    let loaded = match from_standby {
        Some(loaded) => Ok(loaded),
        None => {
            let invalidations = lock(&table.seen).invalidations();
            let loaded = store.load(statement, &loading).await;
            if let (Ok((state, _)), Some(_)) = (&loaded, standby) {
                lock(&table.seen).note(hashes(), state.lsn, invalidations);
            }
            loaded
        }
    };
    match loaded {
        Ok((state, rows)) => {
            let trusted = live && state.epoch.0 == table.common.freshness.epoch();
            for row in &rows {
                take_row(table, &wanted, row, (session.to_client(state.last_seq), trusted, sent));
            }
        }
        Err(error) => wanted.iter().for_each(|wanted| table.load_failed(wanted, &error)),
    }
}

/// A key out of its column's range has no row; one of another type is a mistake. Neither is worth a statement.
fn may_exist<K, V>(table: &Table<K, V>, wanted: &Wanted<K>, live: bool) -> bool
where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let last_seq = Sequence(i64::MAX);
    let absent = || Loaded { value: None, version: Version::NONE, expires: None, last_seq, trusted: live };
    match key::fits(&wanted.key, &table.meta.key) {
        Ok(true) => return true,
        Ok(false) => table.loaded(wanted, &absent()),
        Err(error) => table.load_failed(wanted, &Error::new(Kind::Mismatch, error.to_string())),
    }
    false
}

/// Loads one row past the cache.
pub(crate) async fn load_one<K, V>(table: &Table<K, V>, store: &Store, key: &K) -> Result<Value<V>, Error>
where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let statement = LoadStatement::new(&table.meta, &table.layout);
    let loading = Loading { session: table.session().id, meta: &table.meta, keys: std::slice::from_ref(key) };
    let (_, rows) = store.load(&statement, &loading).await?;
    rows.first().filter(|row| row.get(2)).map(|row| decode(table, row)).transpose()
}

fn decode<K: Key, V>(table: &Table<K, V>, row: &Row) -> Result<Arc<V>, Error>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    row::decode::<V>(&table.layout, row, LOAD_COLUMNS).map(Arc::new).map_err(|error| {
        let message = format!("a row of table {} does not fit the type", table.meta.name);
        Error::caused(Kind::Value, message, error)
    })
}

fn take_row<K, V>(
    table: &Table<K, V>,
    wanted: &[Wanted<K>],
    row: &Row,
    (last_seq, trusted, sent): (Sequence, bool, Instant),
) where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let place: i64 = row.get(1);
    let Some(wanted) = usize::try_from(place - 1).ok().and_then(|place| wanted.get(place)) else { return };
    let exists: bool = row.get(2);
    let value = match exists.then(|| decode(table, row)).transpose() {
        Ok(value) => value,
        Err(error) => return table.load_failed(wanted, &error),
    };
    let version = if exists { believable(table, Version(row.get(3))) } else { Version::NONE };
    let good_for: Option<i64> = row.get(4);
    let expires = good_for.and_then(|micros| sent.checked_add(Duration::from_micros(micros.max(0).unsigned_abs())));
    table.loaded(wanted, &Loaded { value, version, expires, last_seq, trusted });
}

/// A version far ahead of the server's clock was written by hand, and says nothing about order.
fn believable<K: Key, V>(table: &Table<K, V>, version: Version) -> Version
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    if version == Version::NONE {
        return version;
    }
    let hlc = crate::lock::lock(&table.common.clock).now(table.common.monotonic_micros());
    if hlc::is_plausible(version.0, hlc.0) { version } else { Version::NONE }
}
