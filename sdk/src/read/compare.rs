//! What is held, compared with what Postgres says: for a share of hits, in the background, and for every read of rows that are not served from
//! memory, which is answered with what Postgres says.
//!
//! Where the two differ, the row has changed, or is changing: mostly the feed tells so a moment later. What stays is for `judge`.

use super::comparisons::{Comparison, For, OfKey, Said};
use super::{Freshness, Lookup, Reads};
use crate::codec::caught::let_go;
use crate::codec::key::{self, Key};
use crate::codec::row::{LoadedColumns, LoadedRow};
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::entries::{Answer, Claim, Entries, Says, Standing};
use crate::error::{Error, ErrorKind};
use crate::meter::Timer;
use crate::store::{Aside, KeysOf, LoadState, Loading, Taking};
use cache_sync_core::number::KeyHash;
use cache_sync_core::sqlstate::Fault;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// So many rows are looked into at most that are others than they are held.
const SUSPECTS_MAX: usize = 1000;
/// How often what nobody waits for looks whether others are still waiting.
const OTHERS_PAUSE: Duration = Duration::from_millis(10);
/// For how long it gives way to them: where somebody always waits, it would never be found out what is held wrongly.
const GIVES_WAY_MAX: Duration = Duration::from_secs(1);

/// Compares, in a task of its own.
pub(crate) struct Comparer<K: Key, V: CacheValue>(pub(crate) Arc<Reads<K, V>>);

impl<K: Key, V: CacheValue> Comparer<K, V> {
    /// Compares for those who wait for the answer, until nobody will read any more, or its task is ended.
    pub(crate) async fn answer_readers(self) {
        while let Some(taken) = self.0.comparisons.of_readers.take().await {
            self.0.compare_for_readers(taken).await;
        }
    }

    /// Compares what hits have shown, in the same way: of all caches one statement at a time, which gives way to readers of this cache whom
    /// nobody has begun to serve. What waits for that stays in its line.
    pub(crate) async fn look_after_hits(self) {
        let reads = &*self.0;
        while reads.comparisons.of_hits.arrives().await {
            let alone = reads.alone().await;
            reads.compare_hits(reads.comparisons.of_hits.take_waiting(), &alone).await;
        }
    }
}

impl<K: Key, V: CacheValue> Drop for Comparer<K, V> {
    fn drop(&mut self) {
        self.0.comparisons.close();
    }
}

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// Has a hit compared some time later. The reader does not wait for anything.
    #[cold]
    pub(super) fn verify(&self, claim: Claim<K, V>) {
        let is_taken = self.can_be_asked(&claim) && {
            let place = self.comparisons.of_hits.push(Comparison { claim, reader: None });
            // It stays there, though nobody waits.
            place.map(std::mem::forget).is_some()
        };
        if !is_taken {
            self.entries.counters.unverified.add(1);
        }
    }

    /// What Postgres says, and no wait but for that; compared with what a cache that is only looked at would have served. None: it would have
    /// had to ask, too.
    pub(super) async fn shadowed(&self, key: &K, hash: KeyHash) -> Option<Result<Lookup<V>, Error>> {
        let claim = self.entries.would_serve(key, hash).filter(|claim| self.can_be_asked(claim))?;
        self.entries.counters.misses.add(1);
        let (breaker, began) = (&self.store.breaker, Timer::start());
        if self.terms.fails_fast && breaker.is_away() && !breaker.may_look() {
            return Some(self.without_asking(key, hash, Freshness::Latest, None));
        }
        let (sender, receiver) = oneshot::channel();
        let Some(_place) = self.comparisons.of_readers.push(Comparison { claim, reader: Some(sender) }) else {
            return Some(Err(self.entries.check_usable().err().unwrap_or_else(|| self.overloaded())));
        };
        let read = receiver.await.unwrap_or_else(|_| Err(Error::closed()));
        self.entries.meter.miss(began);
        Some(read)
    }

    /// A key that its column cannot hold is not asked for.
    fn can_be_asked(&self, claim: &Claim<K, V>) -> bool {
        key::fits(&claim.key, &self.entries.schema.meta.key).unwrap_or(false)
    }

    async fn compare_for_readers(&self, mut of_keys: Vec<OfKey<K, V>>) {
        let waits =
            |comparison: &Comparison<K, V>| comparison.reader.as_ref().is_some_and(|reader| !reader.is_closed());
        of_keys.iter_mut().for_each(|of_key| of_key.comparisons.retain(waits));
        of_keys.retain(|of_key| !of_key.comparisons.is_empty());
        self.compare_keys(of_keys, For::Readers).await;
    }

    /// What nobody waits for is left alone where Postgres has trouble enough.
    async fn compare_hits(&self, of_keys: Vec<OfKey<K, V>>, alone: &Aside<'_>) {
        match self.is_spared() {
            true => of_keys.iter().for_each(|OfKey { comparisons, .. }| {
                self.entries.counters.unverified.add(comparisons.len() as u64);
            }),
            false => self.compare_keys(of_keys, For::Nobody(alone)).await,
        }
    }

    fn is_spared(&self) -> bool {
        self.store.breaker.is_away() || self.is_refreshing_paused() || self.comparisons.is_closed()
    }

    /// Whether readers of this cache wait whom nobody has begun to serve; where Postgres has trouble enough nothing is asked anyway.
    fn gives_way(&self) -> bool {
        (self.wanted.has_waiting() || !self.comparisons.of_readers.is_empty()) && !self.is_spared()
    }

    /// Whether what nobody waits for has failed just now.
    fn rests(&self) -> bool {
        self.comparisons.pause.lasts(self.entries.common.now()) && !self.is_spared()
    }

    async fn give_way(&self) {
        let until = Instant::now() + GIVES_WAY_MAX;
        while self.gives_way() && Instant::now() < until {
            tokio::time::sleep(OTHERS_PAUSE).await;
        }
    }

    /// Waits until it is time for what nobody waits for, and nobody else of this client asks so.
    pub(super) async fn alone(&self) -> Aside<'_> {
        while self.rests() {
            tokio::time::sleep(OTHERS_PAUSE).await;
        }
        let alone = self.store.aside().await;
        self.give_way().await;
        alone
    }

    async fn compare_keys(&self, mut of_keys: Vec<OfKey<K, V>>, whom: For<'_>) {
        if of_keys.is_empty() {
            return;
        }
        let keys: Vec<_> = of_keys.iter().map(|of_key| of_key.key.clone()).collect();
        match self.ask(&keys, whom).await {
            // One row that cannot be read says nothing of the others.
            Err(error) if keys.len() > 1 && error.fault() == Some(Fault::Row) => {
                let second = of_keys.split_off(keys.len() / 2);
                for half in [of_keys, second] {
                    if matches!(whom, For::Nobody(_)) {
                        self.give_way().await;
                    }
                    Box::pin(self.compare_keys(half, whom)).await;
                }
            }
            Err(error) => {
                match whom {
                    For::Readers => self.pause_refreshing(),
                    For::Nobody(_) => self.comparisons.pause.failed(self.entries.common.now()),
                }
                let comparisons = of_keys.into_iter().flat_map(|of_key| of_key.comparisons);
                comparisons.for_each(|comparison| self.answer(comparison, &Err(error.clone())));
            }
            Ok(said) => {
                if matches!(whom, For::Nobody(_)) {
                    self.comparisons.pause.answered();
                }
                for (OfKey { comparisons, .. }, said) in of_keys.into_iter().zip(said) {
                    comparisons.into_iter().for_each(|comparison| self.answer(comparison, &said));
                    let_go(said);
                }
            }
        }
    }

    /// What the primary says to each of these keys. It looks past what is held, and leaves that as it is.
    pub(super) async fn ask(&self, keys: &[K], whom: For<'_>) -> Result<Vec<Result<Said<V>, Error>>, Error> {
        let Entries { schema, common, numbering, .. } = &*self.entries;
        let (session, keys_of) = (numbering.session().id, KeysOf(keys));
        let loading = Loading { session, meta: &schema.meta, layout: &schema.layout, keys: &keys_of };
        let (sent, live) = (common.now(), common.is_live());
        let (mut is_the_feeds, mut rows) = (false, Vec::from_iter(keys.iter().map(|_| None)));
        let invalidations = lock(&self.seen).invalidations();
        let begin = |state: LoadState| {
            // What is let go because of that is not to be loaded from a standby that lacks it.
            self.note_shown(keys.iter().map(|key| schema.hash::<K, K>(key)), state.lsn, invalidations);
            is_the_feeds = state.epoch.0 == common.freshness.epoch();
            match is_the_feeds {
                true => common.clock.compare(sent, state.host_time),
                false if live => self.store.doubt_server(),
                false => {}
            }
            Some(())
        };
        let each = |(): &(), row: &LoadedColumns<'_>| {
            let row = LoadedRow::of(row, schema, true);
            if let Some((place, row)) = row.and_then(|row| Some((rows.get_mut(row.place)?, row))) {
                *place = Some(row);
            }
        };
        let single = Some(keys).filter(|keys| keys.len() == 1).map(|keys| schema.hash::<K, K>(&keys[0]));
        let mut taking = Taking::new(begin, each);
        let load = async {
            match whom {
                For::Readers => self.load_rows(&loading, &mut taking).await,
                For::Nobody(alone) => self.load_rows_aside(alone, &loading, &mut taking).await,
            }
        };
        if let Err(error) = self.measured(keys.len(), single, load).await {
            return Err(self.lasting(error).await);
        }
        let now = self.entries.common.now();
        let said = |row: Option<LoadedRow<V>>| {
            let row =
                row.ok_or_else(|| Error::new(ErrorKind::Mismatch, "loading rows: the server did not answer all keys"))?;
            let (value, version) = (row.value?, self.entries.believable(row.version, now));
            Ok(Said { value, version, sent, is_the_feeds })
        };
        Ok(rows.into_iter().map(said).collect())
    }

    /// Notes what comes of the comparison, and tells who waits for it what Postgres says.
    fn answer(&self, comparison: Comparison<K, V>, said: &Result<Said<V>, Error>) {
        let Comparison { claim, reader } = comparison;
        let says = said.as_ref().map_or(Says::Nothing, |said| self.says(&claim, said));
        let hash = claim.hash;
        // The version goes on even where a change has left the row as it was.
        let is_overtaken = said.as_ref().is_ok_and(|said| says != Says::Same || said.version != claim.version);
        match says {
            Says::Same => self.entries.counters.verified_equal.add(1),
            Says::Nothing => self.entries.counters.unverified.add(1),
            Says::Other => match self.entries.standing(&claim) {
                Standing::Gone => self.entries.counters.verified_behind.add(1),
                Standing::OwnWrite => self.entries.counters.unverified.add(1),
                Standing::Stands => self.suspect(claim),
            },
        }
        if reader.is_some() && is_overtaken {
            self.entries.overtake(hash);
        }
        let Some(reader) = reader else { return };
        let _ = reader.send(said.as_ref().map_err(Error::clone).map(|said| {
            let (value, version) = (said.value.clone(), said.version);
            self.confirmed(Answer { value, version, as_of: Some(said.sent), is_loaded: true }, said.sent)
        }));
    }

    pub(super) fn says(&self, claim: &Claim<K, V>, said: &Said<V>) -> Says {
        let rows_expire = self.entries.schema.meta.expires.is_some();
        if said.is_the_feeds { claim.against(&said.value, said.version, rows_expire) } else { Says::Nothing }
    }

    /// It shows something else than Postgres, and may be served: somebody has to look whether that stays so. By NOTIFY nobody can tell when a
    /// change that is seen must have been heard of.
    fn suspect(&self, claim: Claim<K, V>) {
        let is_by_stream = self.entries.common.freshness.lsn().is_some();
        let mut suspects = lock(&self.comparisons.suspects);
        if !is_by_stream || suspects.len() >= SUSPECTS_MAX || suspects.contains_key(&claim.hash) {
            return self.entries.counters.unverified.add(1);
        }
        suspects.insert(claim.hash, claim);
        self.comparisons.suspected.notify_one();
    }
}
