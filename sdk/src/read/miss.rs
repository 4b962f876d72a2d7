//! The way of a read that did not hit: what a slot shows, or the load that will bring it.

use super::wanted::{Leader, Load};
use super::{Freshness, Lookup, Reads, Source};
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::common::time::Moment;
use crate::config::{StaleService, Stance};
use crate::entries::{Answer, Place};
use crate::error::{Error, ErrorKind};
use crate::meter::Timer;
use cache_sync_core::number::{KeyHash, Version};
use futures_util::FutureExt;
use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

const AWAY: &str = "Postgres is away; it is looked now and then whether it is back";

/// What became of a look-up.
enum Found<'a, V> {
    Here(Lookup<V>),
    /// The load's number, what will be heard of it, and the load itself if it is to be driven here.
    Loading(u64, oneshot::Receiver<Result<Answer<V>, Error>>, Option<Leader<'a>>),
    /// Another key with the same hash is busy: this one goes past the cache.
    Collision,
}

/// Whether a key is asked for by itself, or with others that one statement should load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Single,
    OneOfMany,
    /// By somebody who watches it.
    OfWatcher,
    /// By somebody who changes what he is shown.
    ToChange,
}

impl Request {
    /// Whether he may be shown what a change has replaced.
    pub(super) fn takes_replaced(self) -> bool {
        matches!(self, Request::Single | Request::OneOfMany)
    }

    fn may_lead(self) -> bool {
        matches!(self, Request::Single | Request::ToChange)
    }
}

/// What of what is held in doubt somebody takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Where Postgres cannot be asked: nothing of which a change was heard.
    Unconfirmed,
    /// Also what a change has replaced, unless somebody has caught up with that.
    Replaced,
}

/// Somebody who waits for a load. Dropped before the answer has come, he has given up.
struct Waiting<'a, K: Key, V: CacheValue> {
    reads: &'a Reads<K, V>,
    hash: KeyHash,
    number: u64,
}

impl<K: Key, V: CacheValue> Drop for Waiting<'_, K, V> {
    fn drop(&mut self) {
        self.reads.give_up(self.hash, self.number);
    }
}

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// What a read that did not hit is answered: shown by the slot, loaded, or stale if the caller allows it. In memory of its own, so
    /// that the future of a read that hits is small.
    pub(crate) fn load<'a>(
        self: &'a Arc<Self>,
        key: Cow<'a, K>,
        hash: KeyHash,
        request: Request,
        freshness: Freshness,
    ) -> Pin<Box<impl Future<Output = Result<Lookup<V>, Error>> + 'a>> {
        Box::pin(async move {
            let (key, counters) = (&*key, &self.entries.counters);
            let stance = self.entries.stance(hash);
            // Who changes the row has it loaded, so that what he saw is what is held.
            if stance == Stance::Shadow
                && request != Request::ToChange
                && let Some(read) = self.shadowed(key, hash).await
            {
                return read.and_then(|read| self.at_its_version(read, freshness));
            }
            let asked = if stance == Stance::Serving { freshness } else { Freshness::Latest };
            if let Some(meanwhile) = self.meanwhile(key, hash, request, asked) {
                if meanwhile.stale_for.is_some() {
                    self.entries.count_replaced(hash);
                }
                return Ok(meanwhile);
            }
            let read = self.asked(key, hash, request, asked).await;
            if read.as_ref().is_ok_and(|read| read.stale_for.is_some()) {
                counters.stale_served.add(1);
            }
            read.and_then(|read| self.at_its_version(read, freshness))
        })
    }

    /// The same, where nothing is served meanwhile.
    async fn asked(
        self: &Arc<Self>,
        key: &K,
        hash: KeyHash,
        request: Request,
        freshness: Freshness,
    ) -> Result<Lookup<V>, Error> {
        let stale_service = self.terms.stale_service.filter(|_| freshness == Freshness::Cached);
        let instead = || stale_service.and_then(|service| self.stale(key, hash, service.max, Takes::Unconfirmed));
        let breaker = &self.store.breaker;
        let is_away = breaker.is_away();
        // Whoever looks whether Postgres is back does not wait for that, either.
        let stale = if is_away { instead() } else { None };
        if (stale.is_some() || self.terms.fails_fast && is_away) && !breaker.may_look() {
            return self.without_asking(key, hash, freshness, stale);
        }
        // What a load brings says itself as of when it is true; whatever else comes was known before.
        let in_step_at = self.entries.common.freshness.in_step_at();
        let (number, receiver, leader) = match self.look_up(key, hash, request, freshness) {
            Ok(Found::Here(found)) => return Ok(found),
            Ok(Found::Loading(number, receiver, leader)) => (number, receiver, leader),
            // In memory of its own, since nearly no read needs that much.
            Ok(Found::Collision) => return Box::pin(self.load_past_cache(key)).await,
            Err(error) if error.is_overloaded() => return stale.or_else(instead).ok_or(error),
            Err(error) => return Err(error),
        };
        if let Some(stale) = stale {
            return Ok(stale);
        }
        let (waiting, began) = (Waiting { reads: self, hash, number }, Timer::start());
        let answer = async {
            if let Some(leader) = leader {
                leader.drive().await;
            }
            receiver.await
        };
        let answer = self.patiently(answer, key, hash, stale_service).await;
        self.entries.meter.miss(began);
        if answer.is_ok() {
            std::mem::forget(waiting);
        }
        let loaded = match answer {
            Err(stale) => return Ok(stale),
            Ok(loaded) => loaded.unwrap_or_else(|_| Err(Error::closed())),
        };
        match loaded {
            Err(error) if error.is_unavailable() => instead().ok_or(error),
            answer => answer.map(|answer| self.confirmed(answer, in_step_at)),
        }
    }

    /// What there is while Postgres is away.
    pub(super) fn without_asking(
        &self,
        key: &K,
        hash: KeyHash,
        freshness: Freshness,
        stale: Option<Lookup<V>>,
    ) -> Result<Lookup<V>, Error> {
        self.entries.check_usable()?;
        let shown = self.shown(&mut self.entries.place(hash), key, hash, freshness, self.entries.common.now());
        shown.or(stale).ok_or_else(|| Error::new(ErrorKind::Unavailable, AWAY))
    }

    /// A row that was asked for at some version must have it by now. One without a version is gone, and a write that waits makes it anew.
    fn at_its_version(&self, read: Lookup<V>, freshness: Freshness) -> Result<Lookup<V>, Error> {
        match freshness {
            Freshness::AtLeast(least) if read.version != Version::NONE && read.version < least => {
                let (table, version) = (self.entries.schema.display_name(), read.version);
                let message =
                    format!("a row of table {table} is at version {version}, and version {least} is asked for");
                Err(Error::new(ErrorKind::Unavailable, message))
            }
            _ => Ok(read),
        }
    }

    /// Waits for a load, but no longer than for what can be served instead.
    async fn patiently<T>(
        &self,
        load: impl Future<Output = T>,
        key: &K,
        hash: KeyHash,
        stale_service: Option<StaleService>,
    ) -> Result<T, Lookup<V>> {
        tokio::pin!(load);
        if let Some(StaleService { max, after }) = stale_service {
            let asked = Instant::now();
            if let Some(answer) = self.store.wait(&mut load, after).await {
                return Ok(answer);
            }
            if let Some(stale) = self.stale(key, hash, max, Takes::Unconfirmed) {
                self.store.breaker.is_silent(asked);
                return Err(stale);
            }
        }
        Ok(load.await)
    }

    /// What is shown of the key, if it is fresh enough. How far the feed has come is looked at first: what it tells meanwhile is not in
    /// that. In silence what is held is as old as the silence. `now` is read under the key's lock: who has waited for it must not take the feed
    /// for heard as of before.
    pub(super) fn shown(
        &self,
        place: &mut Place<'_, K, V>,
        key: &K,
        hash: KeyHash,
        freshness: Freshness,
        now: Moment,
    ) -> Option<Lookup<V>> {
        let entries = &*self.entries;
        let (live, in_step_at) = (entries.common.freshness.is_live(now), entries.common.freshness.in_step_at());
        let answer = match place.slot() {
            Some(slot) => Some(slot).filter(|slot| slot.key == *key)?.answer(entries.generation(), now),
            // It may have come between the look that failed and the lock.
            None => entries.peek(key, hash, |entry| entries.is_current(entry, now).then(|| entry.answer())).flatten(),
        }?;
        let is_heard = live || matches!(freshness, Freshness::AtMost(_));
        if !is_heard || !freshness.takes(answer.version, answer.as_of.unwrap_or(in_step_at), now) {
            return None;
        }
        let shown = self.confirmed(answer, in_step_at);
        if live {
            entries.count_hit();
            return Some(shown);
        }
        Some(Lookup { stale_for: Some(shown.age), ..shown })
    }

    /// What the key's slot shows, or the load to wait for.
    fn look_up(
        self: &Arc<Self>,
        key: &K,
        hash: KeyHash,
        request: Request,
        freshness: Freshness,
    ) -> Result<Found<'_, V>, Error> {
        let entries = &*self.entries;
        let mut place = entries.place(hash);
        // Under the lock, so that nobody begins to wait after `abandon` has come by.
        entries.check_usable()?;
        if place.slot().is_some_and(|slot| slot.key != *key) {
            return Ok(Found::Collision);
        }
        let (now, state) = (entries.common.now(), &entries.common.freshness);
        if let Some(shown) = self.shown(&mut place, key, hash, freshness, now) {
            return Ok(Found::Here(shown));
        }
        let is_past_the_feed = self.standby.is_some() && freshness != Freshness::Cached;
        // What was read before may be older than the bound allows, and while no changes are heard, no fence is shut. What a standby shows is only
        // as new as what the feed had told.
        let since = state.is_live(now).then(|| match is_past_the_feed {
            true => now,
            false => freshness.since(now, state.timeout()),
        });
        let (sender, receiver) = oneshot::channel();
        let next = self.flights.fetch_add(1, Ordering::Relaxed);
        let slot = place.slot_or_new(key);
        let number = slot.join(next, entries.generation(), since, sender);
        if number == next && self.wanted.is_full(self.terms.waiting_keys_max) {
            slot.give_up(number);
            place.leave();
            return Err(self.overloaded());
        }
        entries.count_miss(hash);
        if is_past_the_feed {
            lock(&self.seen).only_primary(hash);
        }
        // Under the lock, so that nobody joins a load in between that somebody else leads.
        let leader = if number == next {
            self.wanted.push(number, hash, || request.may_lead().then(|| self.led(number, hash)))
        } else {
            self.wanted.help();
            None
        };
        Ok(Found::Loading(number, receiver, leader))
    }

    pub(super) fn overloaded(&self) -> Error {
        let (max, table) = (self.terms.waiting_keys_max, &self.entries.schema.meta.name);
        Error::new(ErrorKind::Overloaded, format!("{max} keys of table {table} wait for a load"))
    }

    /// A load of one key, for whoever drives it. It does not panic: others may wait for it.
    fn led(self: &Arc<Self>, number: u64, hash: KeyHash) -> Load {
        let reads = self.clone();
        let load = async move {
            if AssertUnwindSafe(reads.load_hashes(vec![hash])).catch_unwind().await.is_err() {
                let error = Error::new(ErrorKind::Value, "the code of the cache's types panicked");
                reads.entries.load_failed(hash, number, &error);
            }
        };
        self.store.here(load).boxed()
    }

    /// Somebody who waited for a load of the key has left: what nobody waits for is not loaded.
    fn give_up(&self, hash: KeyHash, number: u64) {
        let mut place = self.entries.place(hash);
        if place.slot().is_some_and(|slot| slot.give_up(number)) {
            self.wanted.remove(number);
            lock(&self.seen).not_wanted(hash);
        }
        place.leave();
    }

    /// What was held when the database went away, or changes were not heard any more, if it has been in doubt for no longer than the caller
    /// allows.
    pub(super) fn stale(&self, key: &K, hash: KeyHash, max: Duration, takes: Takes) -> Option<Lookup<V>> {
        let entries = &*self.entries;
        // Before it is looked for: what the feed tells meanwhile is not in it.
        let (now, generation) = (entries.common.now(), entries.generation());
        let doubt = entries.common.freshness.doubt(now);
        let mut place = entries.place(hash);
        let (value, confirmed) = match place.slot().filter(|slot| slot.key == *key) {
            Some(slot) => {
                let (value, confirmed) =
                    slot.last_known(entries.generation(), now, takes == Takes::Replaced, &entries.schema)?;
                (value.map(|row| row.value), confirmed)
            }
            None => {
                let held = entries.peek(key, hash, |entry| {
                    let is_taken = takes == Takes::Replaced || !entry.is_replaced();
                    (is_taken && !entry.lifetime().is_over(now)).then(|| (entry.value.clone(), entry.generation))
                });
                held.flatten()?
            }
        };
        drop(place);
        let doubt = if confirmed == generation { doubt } else { entries.doubt(confirmed) };
        let is_known_to_all = takes == Takes::Replaced && now.before(doubt) < entries.caught_up();
        (doubt <= max && !is_known_to_all).then(|| {
            let (version, source, stale_for) = (Version::NONE, Source::Memory, Some(doubt));
            Lookup { value, version, age: doubt, source, stale_for }
        })
    }
}
