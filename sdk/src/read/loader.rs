//! Misses become loads: at once while the loader is idle, gathered into one statement while one is under way.
//!
//! Loads run in tasks of the client, so that a reader that gives up stops nobody. Only where nothing else is being loaded the reader that
//! missed leads the load of his key himself; a task takes it over when somebody else joins it, or he leaves.

use super::standby::{Asked, Shown};
use super::wanted::Work;
use super::{Lookup, Reads};
use crate::codec::key::{self, Key};
use crate::codec::row::{LoadedColumns, LoadedRow};
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::common::time::Moment;
use crate::entries::{Answer, Entries, Lifetime, Loaded, Next};
use crate::error::{Error, ErrorKind};
use crate::meter::Timer;
use crate::store::{Aside, KeysOf, LoadState, Loading, Takes, Taking};
use cache_sync_core::number::{KeyHash, Lsn, Sequence, Version};
use cache_sync_core::sqlstate::{Fault, is_misfit};
use futures_util::FutureExt;
use std::sync::Arc;
use tracing::{Instrument, debug_span};
use uuid::Uuid;

/// Keys in one statement.
const LOAD_KEYS_MAX: usize = 1000;

/// Loads rows of one table, in a task of its own.
pub(crate) struct Loader<K, V>(pub(crate) Arc<Reads<K, V>>);

/// A key whose load is about to be sent.
struct Wanted<K> {
    hash: KeyHash,
    key: K,
    flight: u64,
}

impl<K: Key, V: CacheValue> Loader<K, V> {
    /// Loads until nobody will want anything any more, or its task is ended.
    pub(crate) async fn run(self) {
        let reads = &self.0;
        while let Some(work) = reads.wanted.take(LOAD_KEYS_MAX).await {
            match work {
                Work::Load(hashes, busy) => {
                    let has_answered_many = hashes.len() > 1;
                    reads.load_hashes(hashes).await;
                    if has_answered_many {
                        // Whoever goes on to the next key asks for it now.
                        tokio::task::yield_now().await;
                    }
                    drop(busy);
                }
                Work::Help(load, _helping) => load.await,
            }
        }
    }
}

/// Whatever ends a loader ends reading: what a reader led, and nobody goes on with any more, gives its connection up.
impl<K, V> Drop for Loader<K, V> {
    fn drop(&mut self) {
        self.0.wanted.close();
    }
}

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// Loads the keys of these hashes that are still wanted.
    pub(super) async fn load_hashes(&self, hashes: Vec<KeyHash>) {
        let now = self.entries.common.now();
        let wanted = hashes.into_iter().filter_map(|hash| {
            let (flight, key) = self.entries.start_load(hash, now)?;
            Some(Wanted { hash, key, flight })
        });
        let wanted = wanted.collect();
        self.load_wanted(wanted).await;
    }

    async fn load_wanted(&self, wanted: Vec<Wanted<K>>) {
        let entries = &*self.entries;
        let sent = entries.common.now();
        let live = entries.common.freshness.is_live(sent);
        let wanted: Vec<_> = wanted.into_iter().filter(|wanted| self.may_exist(wanted, sent, live)).map(Some).collect();
        if wanted.is_empty() {
            return;
        }
        let session = entries.numbering.session().id;
        let mut arriving = Arriving { reads: self, session, sent, live, wanted };
        let (keys, single) = (arriving.wanted.len(), arriving.hashes().next().filter(|_| arriving.wanted.len() == 1));
        let loaded = self.measured(keys, single, self.rows(&mut arriving)).await;
        let left: Vec<_> = arriving.wanted.into_iter().flatten().collect();
        match loaded {
            // One of the keys is no value of the column's type, as it is by now: the others are none the worse for it.
            Err(error) if left.len() > 1 && error.fault() == Some(Fault::Row) => {
                Box::pin(self.by_halves(left)).await;
            }
            Err(error) => {
                self.pause_refreshing();
                let error = self.lasting(error).await;
                left.iter().for_each(|wanted| entries.load_failed(wanted.hash, wanted.flight, &error));
            }
            Ok(()) => {
                let error = Error::new(ErrorKind::Mismatch, "loading rows: the server did not answer all keys");
                left.iter().for_each(|wanted| entries.load_failed(wanted.hash, wanted.flight, &error));
            }
        }
    }

    /// Runs a statement that loads so many keys, and says so to whom it concerns: of a single one by its hash, never by its value.
    pub(super) fn measured<T>(
        &self,
        keys: usize,
        single: Option<KeyHash>,
        load: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        let Entries { schema, counters, meter, .. } = &*self.entries;
        counters.load_statements.add(1);
        counters.loaded_keys.add(keys as u64);
        let span = debug_span!(
            "cache_sync.load",
            table = schema.display_name(),
            keys,
            key_hash = single.map(|hash| format!("{:016x}", hash.0)),
        );
        let began = Timer::start();
        load.instrument(span).inspect(move |loaded| meter.load(began, keys, loaded.is_ok()))
    }

    async fn by_halves(&self, mut wanted: Vec<Wanted<K>>) {
        let second = wanted.split_off(wanted.len() / 2);
        self.load_wanted(wanted).await;
        self.load_wanted(second).await;
    }

    /// Brings the rows, from the standby if it has all that must be in them, else from the primary.
    async fn rows(&self, arriving: &mut Arriving<'_, K, V>) -> Result<(), Error> {
        let entries = &*self.entries;
        let settled = entries.numbering.settled();
        let seen = lock(&self.seen).needed(arriving.hashes());
        if let Some((standby, needed)) = self.standby.as_ref().filter(|_| arriving.live).zip(seen) {
            let (keys, session) = (arriving.keys(), arriving.session);
            let loading =
                Loading { session, meta: &entries.schema.meta, layout: &entries.schema.layout, keys: &KeysOf(&keys) };
            let asked = Asked { statement: &self.statement, loading: &loading, needed };
            let has_own_batches = |state: &LoadState| {
                let last = || entries.numbering.to_client(session, state.last_seq);
                settled == Sequence(0) || (state.last_seq.0 >= 0 && last().is_some_and(|last| last >= settled))
            };
            let each = |shown: &Shown, row: &LoadedColumns<'_>| arriving.came(shown, row);
            // In memory of its own: most have none, and move what a load needs.
            if Box::pin(standby.load(&entries.common, &asked, has_own_batches, each)).await {
                return Ok(());
            }
            // It may have gone away in the middle.
            arriving.wanted.retain(Option::is_some);
        }
        let (invalidations, live) = (lock(&self.seen).invalidations(), arriving.live);
        let (keys, hashes): (_, Vec<_>) = (arriving.keys(), arriving.hashes().collect());
        let loading = Loading {
            session: arriving.session,
            meta: &entries.schema.meta,
            layout: &entries.schema.layout,
            keys: &KeysOf(&keys),
        };
        let asked = entries.common.now();
        let begin = |state: LoadState| {
            if state.epoch.0 == entries.common.freshness.epoch() {
                entries.common.clock.compare(asked, state.host_time);
            } else if live {
                self.store.doubt_server();
            }
            self.note_shown(hashes.iter().copied(), state.lsn, invalidations);
            Some(Shown { epoch: state.epoch, last_seq: state.last_seq, as_of: asked })
        };
        self.load_rows(&loading, &mut Taking::new(begin, |shown, row| arriving.came(shown, row))).await
    }

    /// A key out of its column's range has no row, nor had it at `sent`; one of another type is a mistake. Neither is worth a statement.
    fn may_exist(&self, wanted: &Wanted<K>, sent: Moment, live: bool) -> bool {
        let entries = &*self.entries;
        let last_seq = Sequence(i64::MAX);
        let lifetime = Lifetime::ENDLESS;
        let absent = Loaded { value: None, version: Version::NONE, lifetime, last_seq, trusted: live, as_of: sent };
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

/// Keys whose load was sent, those without an answer still in place, and what it needs to know to take one.
struct Arriving<'a, K: Key, V: CacheValue> {
    reads: &'a Reads<K, V>,
    /// The session whose last batch the server is asked for.
    session: Uuid,
    sent: Moment,
    /// Changes were heard when it was sent.
    live: bool,
    wanted: Vec<Option<Wanted<K>>>,
}

impl<K: Key, V: CacheValue> Arriving<'_, K, V> {
    fn hashes(&self) -> impl Iterator<Item = KeyHash> {
        self.wanted.iter().flatten().map(|wanted| wanted.hash)
    }

    fn keys(&self) -> Vec<K> {
        self.wanted.iter().flatten().map(|wanted| wanted.key.clone()).collect()
    }

    fn came(&mut self, shown: &Shown, row: &LoadedColumns<'_>) {
        let entries = &*self.reads.entries;
        let Some(row) = LoadedRow::of(row, &entries.schema, entries.is_compared()) else { return };
        let Some(wanted) = self.wanted.get_mut(row.place).and_then(Option::take) else { return };
        let value = match row.value {
            Ok(value) => value,
            Err(error) => return entries.load_failed(wanted.hash, wanted.flight, &error),
        };
        let last_seq = entries.numbering.to_client(self.session, shown.last_seq);
        let trusted = self.live && shown.epoch.0 == entries.common.freshness.epoch() && last_seq.is_some();
        let lifetime = entries.lifetimes(wanted.hash, self.sent, row.good_for).of(&value);
        let last_seq = last_seq.unwrap_or(Sequence(0));
        let loaded = Loaded { value, version: row.version, lifetime, last_seq, trusted, as_of: shown.as_of };
        // Nobody else asks for it: who joins meanwhile finds a load that was asked for.
        match entries.loaded(wanted.hash, wanted.flight, loaded) {
            Next::Again => drop(self.reads.wanted.push(wanted.flight, wanted.hash, || None)),
            Next::Overtaken if self.reads.is_worth_it(&wanted.key, wanted.hash) => {
                let _ = self.reads.refresh(&wanted.key, wanted.hash);
            }
            Next::Overtaken | Next::Nothing => {}
        }
    }
}

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// Loads rows from the primary, for somebody who waits.
    pub(super) async fn load_rows(&self, loading: &Loading<'_>, takes: &mut (dyn Takes + '_)) -> Result<(), Error> {
        let loaded = self.store.load(&self.statement, loading, takes).await;
        self.of_the_table(loaded)
    }

    /// The same, for nobody: what becomes of it says nothing to those who wait for others.
    pub(super) async fn load_rows_aside(
        &self,
        alone: &Aside<'_>,
        loading: &Loading<'_>,
        takes: &mut (dyn Takes + '_),
    ) -> Result<(), Error> {
        let loaded = self.store.load_aside(alone, &self.statement, loading, takes).await;
        self.of_the_table(loaded)
    }

    fn of_the_table(&self, loaded: Result<bool, Error>) -> Result<(), Error> {
        if loaded? {
            return Ok(());
        }
        // Another table has taken the name.
        self.entries.retire();
        Err(self.entries.retirement())
    }

    /// The primary shows these keys as of `lsn`, to a load that began after so many invalidations: no standby may show anything older after that.
    pub(super) fn note_shown(&self, keys: impl Iterator<Item = KeyHash>, lsn: Lsn, invalidations: u64) {
        if self.standby.is_some() {
            lock(&self.seen).note(keys, lsn, invalidations);
        }
    }

    /// What a failed load means for the cache: where the statement no longer fits because the table's name means another one or none,
    /// it retires.
    pub(super) async fn lasting(&self, error: Error) -> Error {
        let is_gone = error.sqlstate().is_some_and(is_misfit)
            && self.store.is_still(&self.entries.schema.meta).await.is_ok_and(|is_there| !is_there);
        if !is_gone {
            return error;
        }
        self.entries.retire();
        self.entries.retirement()
    }

    /// Loads one row past the cache: it shows nothing but what Postgres has.
    pub(crate) async fn load_past_cache(&self, key: &K) -> Result<Lookup<V>, Error> {
        let schema = &self.entries.schema;
        let session = self.entries.numbering.session().id;
        let loading =
            Loading { session, meta: &schema.meta, layout: &schema.layout, keys: &KeysOf(std::slice::from_ref(key)) };
        let (sent, mut loaded) = (self.entries.common.now(), None);
        let (hash, invalidations) = (schema.hash::<K, K>(key), lock(&self.seen).invalidations());
        let begin = |state: LoadState| {
            self.note_shown(std::iter::once(hash), state.lsn, invalidations);
            Some(())
        };
        let mut taking =
            Taking::new(begin, |(): &(), row: &LoadedColumns<'_>| loaded = LoadedRow::of(row, schema, false));
        let load = self.load_rows(&loading, &mut taking);
        match self.measured(1, Some(hash), load).await {
            Ok(()) => {}
            Err(error) => return Err(self.lasting(error).await),
        }
        let (value, version) = match loaded {
            Some(row) => (row.value?, row.version),
            None => (None, Version::NONE),
        };
        Ok(self.confirmed(Answer { value, version, as_of: Some(sent), is_loaded: true }, sent))
    }
}
