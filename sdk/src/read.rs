//! The walk of one key through a read: from memory, or from a load that everybody who misses at that moment shares.
//!
//! ```text
//! hit      what memory holds and may be served       miss     what a slot shows, or the load that will bring it
//! wanted   the keys that wait for a load             loader   misses become batched loads
//! standby  loads from a hot standby                  seen     what a standby must be up to date with
//! ```
//! cache -> hit | miss -> wanted -> loader -> pg -> codec -> entries

mod hit;
pub(crate) mod loader;
mod miss;
mod seen;
pub(crate) mod standby;
mod wanted;

pub(crate) use miss::{Found, Stale};

use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::entries::Entries;
use cache_sync_core::number::KeyHash;
use seen::Seen;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wanted::WantedKeys;

/// The reads of one cache.
pub(crate) struct Reads<K, V> {
    pub(crate) entries: Arc<Entries<K, V>>,
    wanted: WantedKeys,
    /// How many loads were asked for; each has the next number.
    flights: AtomicU64,
    /// What loads from the primary have shown.
    seen: Mutex<Seen>,
    /// For how long entries may be served while Postgres cannot be asked.
    stale_max: Duration,
}

impl<K: Key, V: CacheValue> Reads<K, V> {
    pub(crate) fn new(entries: Arc<Entries<K, V>>, stale_max: Duration) -> Reads<K, V> {
        Reads { entries, wanted: WantedKeys::default(), flights: AtomicU64::new(0), seen: Mutex::default(), stale_max }
    }

    /// Drops what memory holds for the key: somebody knows that the row has changed.
    pub(crate) fn invalidate(&self, hash: KeyHash) {
        lock(&self.seen).invalidate();
        self.entries.invalidate(hash);
    }
}
