//! Misses become loads: at once while the loader is idle, gathered into one statement while one is under way.
//!
//! Loads run in tasks of the client, not in the reader that missed, so that a reader that gives up stops nobody.

use super::standby::{Asked, Standby};
use super::{Read, Reads};
use crate::codec::key::{self, Key};
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::entries::{Lifetime, Loaded, Session};
use crate::error::{Error, ErrorKind};
use crate::pg::{LoadState, LoadStatement, LoadedRow, Loading, is_misfit};
use cache_sync_core::number::{KeyHash, Sequence, Version};
use std::sync::Arc;
use tokio_postgres::Row;

/// Keys in one statement.
const LOAD_KEYS_MAX: usize = 1000;

/// Loads rows of one table, in a task of its own.
pub(crate) struct Loader<K, V> {
    reads: Arc<Reads<K, V>>,
    standby: Option<Arc<Standby>>,
    statement: LoadStatement,
}

/// A key whose load is about to be sent.
struct Wanted<K> {
    hash: KeyHash,
    key: K,
    flight: u64,
}

impl<K: Key, V: CacheValue> Loader<K, V> {
    pub(crate) fn new(reads: Arc<Reads<K, V>>, standby: Option<Arc<Standby>>) -> Loader<K, V> {
        let statement = LoadStatement::new(&reads.entries.schema);
        Loader { reads, standby, statement }
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
        let sent = entries.common.now();
        let live = entries.common.freshness.is_live(sent);
        let wanted: Vec<_> = wanted.into_iter().filter(|wanted| self.may_exist(wanted, live)).collect();
        if wanted.is_empty() {
            return;
        }
        entries.counters.load_statements.add(1);
        entries.counters.loaded_keys.add(wanted.len() as u64);
        match self.rows(&wanted, session, live).await {
            Ok((state, rows)) => {
                let trusted = live && state.epoch.0 == entries.common.freshness.epoch();
                let last_seq = session.to_client(state.last_seq);
                for row in rows.iter().filter_map(|row| LoadedRow::of(row, &entries.schema)) {
                    let Some(wanted) = wanted.get(row.place) else { continue };
                    let value = match row.value {
                        Ok(value) => value,
                        Err(error) => {
                            entries.load_failed(wanted.hash, wanted.flight, &error);
                            continue;
                        }
                    };
                    let lifetime = entries.lifetime(sent, row.good_for);
                    let loaded = Loaded { value, version: row.version, lifetime, last_seq, trusted };
                    // Nobody else asks for it: who joins meanwhile finds a load that was asked for.
                    if entries.loaded(wanted.hash, wanted.flight, loaded) {
                        self.reads.wanted.push(wanted.hash);
                    }
                }
            }
            // One of the keys is no value of the column's type, as it is by now: the others are none the worse for it.
            Err(error) if wanted.len() > 1 && error.sqlstate().is_some_and(|code| code.starts_with("22")) => {
                Box::pin(self.by_halves(wanted)).await;
            }
            Err(error) => {
                let error = self.reads.lasting(error).await;
                wanted.iter().for_each(|wanted| entries.load_failed(wanted.hash, wanted.flight, &error));
            }
        }
    }

    async fn by_halves(&self, mut wanted: Vec<Wanted<K>>) {
        let second = wanted.split_off(wanted.len() / 2);
        self.load(wanted).await;
        self.load(second).await;
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
            if let Some(loaded) = standby.load(&self.reads.store, &entries.common, &asked, has_own_batches).await {
                return Ok(loaded);
            }
        }
        let invalidations = lock(&self.reads.seen).invalidations();
        let asked = entries.common.now();
        let loaded = self.reads.load_rows(&self.statement, &loading).await?;
        if loaded.0.epoch.0 == entries.common.freshness.epoch() {
            entries.common.clock.compare(asked, loaded.0.host_time);
        }
        if self.standby.is_some() {
            lock(&self.reads.seen).note(hashes(), loaded.0.lsn, invalidations);
        }
        Ok(loaded)
    }

    /// A key out of its column's range has no row; one of another type is a mistake. Neither is worth a statement.
    fn may_exist(&self, wanted: &Wanted<K>, live: bool) -> bool {
        let entries = &*self.reads.entries;
        let last_seq = Sequence(i64::MAX);
        let lifetime = Lifetime::ENDLESS;
        let absent = Loaded { value: None, version: Version::NONE, lifetime, last_seq, trusted: live };
        match key::fits(&wanted.key, &entries.schema.meta.key) {
            Ok(true) => return true,
            Ok(false) => {
                // It contains every batch there will ever be, so it need not be asked again.
                let _ = entries.loaded(wanted.hash, wanted.flight, absent);
            }
            Err(error) => {
                let error = Error::new(ErrorKind::Mismatch, error.to_string());
                entries.load_failed(wanted.hash, wanted.flight, &error);
            }
        }
        false
    }
}

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// Loads rows from the primary.
    async fn load_rows(
        &self,
        statement: &LoadStatement,
        loading: &Loading<'_, K>,
    ) -> Result<(LoadState, Vec<Row>), Error> {
        let loaded = self.store.load(statement, loading).await?;
        if loaded.0.relation == loading.meta.relation {
            return Ok(loaded);
        }
        // Another table has taken the name.
        self.entries.retire();
        Err(self.entries.retirement())
    }

    /// What a failed load means for the cache: where the statement no longer fits because the table's name means another one or none,
    /// it retires.
    async fn lasting(&self, error: Error) -> Error {
        let is_gone = error.sqlstate().is_some_and(is_misfit)
            && self.store.is_still(&self.entries.schema.meta).await.is_ok_and(|is_there| !is_there);
        if !is_gone {
            return error;
        }
        self.entries.retire();
        self.entries.retirement()
    }

    /// Loads one row past the cache.
    pub(super) async fn load_past_cache(&self, key: &K) -> Result<Read<V>, Error> {
        let schema = &self.entries.schema;
        let session = self.entries.numbering.session().id;
        let loading = Loading { session, meta: &schema.meta, keys: std::slice::from_ref(key) };
        let (_, rows) = match self.load_rows(&LoadStatement::new(schema), &loading).await {
            Ok(loaded) => loaded,
            Err(error) => return Err(self.lasting(error).await),
        };
        let value = match rows.first().and_then(|row| LoadedRow::of(row, schema)) {
            Some(row) => row.value?,
            None => None,
        };
        Ok(Read::confirmed(value, Version::NONE))
    }
}
