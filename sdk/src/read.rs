//! The walk of one key through a read: from memory, or from a load that everybody who misses at that moment shares.
//!
//! ```text
//! hit      what memory holds and may be served       miss     what a slot shows, or the load that will bring it
//! wanted   the keys that wait for a load             loader   misses become batched loads
//! standby  loads from a hot standby                  seen     what a standby must be up to date with
//! live     a key that is watched                        lookup   how fresh an answer has to be, and what is known of it
//! refresh  loads for which nobody waits                sample   which hits are compared with Postgres
//! comparisons  what waits to be compared
//! compare  what is held with what Postgres says         judge    whether what differs should not be held any more
//! pause    how long comparisons rest that have failed
//! ```
//! cache -> hit | miss -> wanted -> loader -> pg -> codec -> entries

mod compare;
mod comparisons;
mod hit;
mod judge;
mod live;
mod loader;
mod lookup;
mod miss;
mod pause;
mod refresh;
mod sample;
mod seen;
mod standby;
mod wanted;

pub(crate) use compare::Comparer;
pub(crate) use judge::Judge;
pub(crate) use live::WatchedKey;
pub(crate) use loader::Loader;
pub use lookup::{Freshness, Lookup, Source};
pub(crate) use miss::Request;
pub(crate) use standby::Standby;

use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::common::time::Moment;
use crate::config::{Ages, CacheConfig, ClientConfig, StaleService, share_of};
use crate::entries::{Answer, Entries};
use crate::store::{LoadStatement, Store};
use cache_sync_core::number::KeyHash;
use comparisons::Comparisons;
use sample::Sample;
use seen::Seen;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wanted::WantedKeys;

/// What the settings of a cache say of its reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadTerms {
    stale_service: Option<StaleService>,
    waiting_keys_max: usize,
    fails_fast: bool,
    /// How long before its end an entry is loaded again.
    refresh_ahead: Option<Duration>,
    /// How old what a change has replaced may be that is served while it is loaded again.
    replaced_max: Option<Duration>,
    refresh_on_change: bool,
    /// The hits that are compared with Postgres.
    verified: Option<Sample>,
    /// Something has to be found out with each hit.
    looks_at_hits: bool,
}

impl ReadTerms {
    pub(crate) fn of(cache: &CacheConfig, client: &ClientConfig) -> ReadTerms {
        let Ages { time_to_live, refresh_ahead, .. } = cache.ages;
        let refresh_ahead = time_to_live.filter(|_| refresh_ahead > 0.0).map(|time| share_of(time, refresh_ahead));
        let (stale_service, waiting_keys_max) = (cache.stale_service(client), cache.waiting_keys_max);
        // A change may be heard of as late as that.
        let replaced_max = Some(cache.stale_while_refreshing).filter(|bound| *bound > Duration::ZERO);
        let replaced_max = replaced_max.map(|bound| bound.saturating_add(client.feed_timeout));
        let verified = Sample::of(cache.verified_share);
        ReadTerms {
            stale_service,
            waiting_keys_max,
            fails_fast: cache.fails_fast,
            refresh_ahead,
            replaced_max,
            refresh_on_change: cache.refresh_on_change,
            verified,
            looks_at_hits: verified.is_some() || refresh_ahead.is_some(),
        }
    }
}

/// The reads of one cache.
pub(crate) struct Reads<K, V> {
    pub(crate) entries: Arc<Entries<K, V>>,
    store: Arc<Store>,
    standby: Option<Arc<Standby>>,
    statement: LoadStatement,
    wanted: WantedKeys,
    /// How many loads were asked for; each has the next number.
    flights: AtomicU64,
    /// What loads from the primary have shown.
    seen: Mutex<Seen>,
    comparisons: Comparisons<K, V>,
    terms: ReadTerms,
    /// Until this [`Moment`] nothing is loaded ahead.
    refreshing_paused: AtomicU64,
}

impl<K: Key, V: CacheValue> Reads<K, V> {
    pub(crate) fn new(
        entries: Arc<Entries<K, V>>,
        store: Arc<Store>,
        standby: Option<Arc<Standby>>,
        terms: ReadTerms,
    ) -> Reads<K, V> {
        Reads {
            statement: LoadStatement::new(&entries.schema),
            entries,
            store,
            standby,
            wanted: WantedKeys::default(),
            flights: AtomicU64::new(0),
            seen: Mutex::default(),
            comparisons: Comparisons::new(terms.waiting_keys_max),
            terms,
            refreshing_paused: AtomicU64::new(0),
        }
    }

    /// Nobody reads any more: the loaders may end.
    pub(crate) fn leave(&self) {
        self.wanted.close();
    }

    /// What is held is not compared with Postgres any more.
    pub(crate) fn stop_comparing(&self) {
        self.comparisons.close();
    }

    /// What callers hear of an answer that could be confirmed. `in_step_at` is how far the feed had come before it was looked for.
    fn confirmed(&self, answer: Answer<V>, in_step_at: Moment) -> Lookup<V> {
        let source = if answer.is_loaded { Source::Postgres } else { Source::Memory };
        let age = self.entries.common.now().since(answer.as_of.unwrap_or(in_step_at));
        let value = answer.value.map(|row| row.value);
        Lookup { value, version: answer.version, age, source, stale_for: None }
    }

    /// Drops what memory holds for the key: somebody knows that the row has changed.
    pub(crate) fn invalidate(&self, hash: KeyHash) {
        lock(&self.seen).invalidate();
        self.entries.invalidate(hash);
    }
}
