//! The walk of one key through a read: from memory, or from a load that everybody who misses at that moment shares.
//!
//! ```text
//! hit      what memory holds and may be served       miss     what a slot shows, or the load that will bring it
//! wanted   the keys that wait for a load             loader   misses become batched loads
//! standby  loads from a hot standby                  seen     what a standby must be up to date with
//! live     a key that is watched
//! ```
//! cache -> hit | miss -> wanted -> loader -> pg -> codec -> entries

mod hit;
mod live;
mod loader;
mod miss;
mod seen;
mod standby;
mod wanted;

pub(crate) use live::WatchedKey;
pub(crate) use loader::Loader;
pub(crate) use miss::Request;
pub(crate) use standby::Standby;

use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::config::StaleService;
use crate::entries::{Answer, Entries};
use crate::pg::{LoadStatement, Store};
use cache_sync_core::number::{KeyHash, Version};
use seen::Seen;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wanted::WantedKeys;

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

impl<V> Read<V> {
    pub(crate) fn confirmed(value: Option<Arc<V>>, version: Version) -> Read<V> {
        Read { value, version, stale_for: None }
    }
}

impl<V> From<Answer<V>> for Read<V> {
    fn from(answer: Answer<V>) -> Read<V> {
        Read::confirmed(answer.value.map(|row| row.value), answer.version)
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
    stale_service: Option<StaleService>,
}

impl<K: Key, V: CacheValue> Reads<K, V> {
    pub(crate) fn new(
        entries: Arc<Entries<K, V>>,
        store: Arc<Store>,
        standby: Option<Arc<Standby>>,
        stale_service: Option<StaleService>,
    ) -> Reads<K, V> {
        Reads {
            statement: LoadStatement::new(&entries.schema),
            entries,
            store,
            standby,
            wanted: WantedKeys::default(),
            flights: AtomicU64::new(0),
            seen: Mutex::default(),
            stale_service,
        }
    }

    /// Nobody reads any more: the loaders may end.
    pub(crate) fn leave(&self) {
        self.wanted.close();
    }

    /// Drops what memory holds for the key: somebody knows that the row has changed.
    pub(crate) fn invalidate(&self, hash: KeyHash) {
        lock(&self.seen).invalidate();
        self.entries.invalidate(hash);
    }
}
