//! Rows that are watched.

use super::Cache;
use crate::codec::key::{Key, LookUp};
use crate::codec::value::CacheValue;
use crate::common::watch::Watch;
use crate::error::Error;
use crate::read::{Lookup, WatchedKey};

/// What a watched row is shown as.
type Shown<V> = Result<Lookup<V>, Error>;

impl<K: Key, V: CacheValue> Cache<K, V> {
    /// Shows the row as it is now, and then each time that it may have changed, whoever changed it: the row that [`Cache::get`] would bring,
    /// writes of this client that Postgres does not have yet included.
    ///
    /// What is shown never goes back, save where Postgres decides otherwise about a write of this client. The last state is always shown in the end;
    /// states in between may be left out, and one may be shown again under a newer version.
    ///
    /// When the feed falls silent, or Postgres cannot be asked for what has changed, the last value is shown once more with
    /// [`Lookup::stale_for`]; and once it is heard again, the row as it is then.
    ///
    /// It holds a handle of the cache. A watched key costs memory and a load for each change, however many watch it. The time to live of the cache does not count: changes
    /// are heard of. A row that expires is shown as missing then.
    ///
    /// # Errors
    /// Items are errors where the row cannot be read: it does not fit the type, which the next change may mend; or the table is
    /// not the one any more that was opened, which ends the stream. Where nothing could be shown yet because Postgres is away, the first item
    /// waits for it.
    pub fn watch<Q: ?Sized>(&self, key: &Q) -> Watch<Result<Lookup<V>, Error>>
    where
        K: LookUp<Q>,
    {
        self.watch_key(K::key(key).into_owned())
    }

    /// Watches several rows: all of them as they are now, loaded together, and then each that may have changed. As [`Cache::watch`].
    pub fn watch_many(&self, keys: impl IntoIterator<Item = K>) -> Watch<(K, Result<Lookup<V>, Error>)> {
        Watch::of_many(keys.into_iter().map(|key| (key.clone(), self.watch_key(key))))
    }

    fn watch_key(&self, key: K) -> Watch<Shown<V>> {
        let hash = self.hash(&key);
        let watched = WatchedKey::new(self.reads.clone(), key, hash);
        // The cache goes on for as long as somebody watches.
        Watch::of(watched, self.shared.liveness(), |read| read, self.clone())
    }
}
