//! Rows that are watched.

use super::Cache;
use crate::codec::key::{Key, LookUp};
use crate::codec::value::CacheValue;
use crate::common::live::Live;
use crate::error::Error;
use crate::read::{Read, Request, WatchedKey};
use futures_util::stream::{BoxStream, SelectAll, unfold};
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What [`Cache::watch`] gives: the row as it is, and then each time that it has changed.
///
/// It is a stream. Whoever takes its items slowly is shown the last state, not each one in between. It ends when the client is closed,
/// or its cache retires after an error that says so. It holds a handle of the cache.
#[must_use = "nothing is watched before somebody takes its items"]
pub struct Watch<V>(BoxStream<'static, Result<Read<V>, Error>>);

impl<V> Watch<V> {
    /// The next item; `None` at the end. May be given up, and called again.
    ///
    /// # Errors
    /// See [`Cache::watch`].
    pub async fn next(&mut self) -> Option<Result<Read<V>, Error>> {
        self.0.next().await
    }
}

impl<V> Stream for Watch<V> {
    type Item = Result<Read<V>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

/// What [`Cache::watch_many`] gives: as [`Watch`], each item with its key.
#[must_use = "nothing is watched before somebody takes its items"]
pub struct WatchMany<K, V>(SelectAll<BoxStream<'static, OfKey<K, V>>>);

/// A key, and what it shows.
type OfKey<K, V> = (K, Result<Read<V>, Error>);

impl<K, V> WatchMany<K, V> {
    /// As [`Watch::next`].
    ///
    /// # Errors
    /// See [`Cache::watch`].
    pub async fn next(&mut self) -> Option<OfKey<K, V>> {
        self.0.next().await
    }
}

impl<K, V> Stream for WatchMany<K, V> {
    type Item = OfKey<K, V>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl<K: Key, V: CacheValue> Cache<K, V> {
    /// Shows the row as it is now, and then each time that it may have changed, whoever changed it: the row that [`Cache::get`] would bring,
    /// writes of this client that Postgres does not have yet included.
    ///
    /// What is shown never goes back, save where Postgres decides otherwise about a write of this client. The last state is always shown in the end;
    /// states in between may be left out, and one may be shown again under a newer version.
    ///
    /// When the feed falls silent, or Postgres cannot be asked for what has changed, the last value is shown once more with
    /// [`Read::stale_for`]; and once it is heard again, the row as it is then.
    ///
    /// A watched key costs memory and a load for each change, however many watch it. The time to live of the cache does not count: changes
    /// are heard of. A row that expires is shown as missing then.
    ///
    /// # Errors
    /// Items are errors where the row cannot be read: it does not fit the type, which the next change may mend; or the table is
    /// not the one any more that was opened, which ends the stream. Where nothing could be shown yet because Postgres is away, the first item
    /// waits for it.
    pub fn watch<Q: ?Sized>(&self, key: &Q) -> Watch<V>
    where
        K: LookUp<Q>,
    {
        Watch(self.live(K::key(key).into_owned(), Request::Single))
    }

    /// Watches several rows: all of them as they are now, loaded together, and then each that may have changed. As [`Cache::watch`].
    pub fn watch_many(&self, keys: impl IntoIterator<Item = K>) -> WatchMany<K, V> {
        let watch = |key: K| {
            let of = key.clone();
            self.live(key, Request::OneOfMany).map(move |read| (of.clone(), read)).boxed()
        };
        WatchMany(keys.into_iter().map(watch).collect())
    }

    fn live(&self, key: K, request: Request) -> BoxStream<'static, Result<Read<V>, Error>> {
        let hash = self.hash(&key);
        let watched = WatchedKey::new(self.reads.clone(), key, hash, request);
        let live = Live::new(watched, self.shared.liveness());
        // The cache goes on for as long as somebody watches.
        let watching = (live, self.clone());
        unfold(watching, async |(mut live, cache)| live.next().await.map(|read| (read, (live, cache)))).boxed()
    }
}
