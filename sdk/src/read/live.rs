//! A key that is watched.

use super::{Freshness, Lookup, Reads, Request, Source};
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::live::Watchable;
use crate::common::time::Moment;
use crate::entries::Watched;
use crate::error::Error;
use cache_sync_core::number::KeyHash;
use std::borrow::Cow;
use std::future::pending;
use std::sync::Arc;
use tokio::sync::futures::OwnedNotified;

/// A key that is watched.
pub(crate) struct WatchedKey<K: Key, V: CacheValue> {
    reads: Arc<Reads<K, V>>,
    key: K,
    hash: KeyHash,
    watched: Watched<K, V>,
    /// Everything that was committed before is in what was seen last.
    as_of: Moment,
}

impl<K: Key, V: CacheValue> WatchedKey<K, V> {
    pub(crate) fn new(reads: Arc<Reads<K, V>>, key: K, hash: KeyHash) -> WatchedKey<K, V> {
        let watched = reads.entries.watch(hash);
        let as_of = reads.entries.common.now();
        WatchedKey { reads, key, hash, watched, as_of }
    }
}

impl<K: Key, V: CacheValue> Watchable for WatchedKey<K, V> {
    type Read = Lookup<V>;
    type Since = OwnedNotified;

    fn since(&self) -> OwnedNotified {
        self.watched.changed()
    }

    async fn look(&mut self) -> Result<Lookup<V>, Error> {
        let seen = match self.reads.hit_if(&self.key, self.hash, Freshness::Cached) {
            Some(held) => held,
            // Never as who leads the load: whoever does not take items for a while, as a server does whose client is slow, must not keep a
            // connection meanwhile.
            None => self.reads.load(Cow::Borrowed(&self.key), self.hash, Request::OfWatcher, Freshness::Cached).await?,
        };
        self.as_of = self.reads.entries.common.now().before(seen.age);
        Ok(seen)
    }

    async fn turned(&mut self, changed: OwnedNotified) {
        let end = self.watched.ends_at();
        let ended = async {
            match end {
                Some(end) => tokio::time::sleep(end.since(self.reads.entries.common.now())).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = changed => {}
            () = ended => {}
        }
    }

    fn is_doubtful(read: &Lookup<V>) -> bool {
        read.stale_for.is_some()
    }

    fn is_same(shown: &Lookup<V>, read: &Lookup<V>) -> bool {
        let is_same = match (&shown.value, &read.value) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        is_same && shown.version == read.version && shown.stale_for.is_some() == read.stale_for.is_some()
    }

    fn same(shown: &Lookup<V>) -> Lookup<V> {
        Lookup { value: shown.value.clone(), ..*shown }
    }

    fn doubted(&self, shown: &Lookup<V>) -> Lookup<V> {
        let entries = &*self.reads.entries;
        let now = entries.common.now();
        // As long as nothing was heard of it, it is as good as the feed.
        let is_unchanged = entries.peek(&self.key, self.hash, |entry| {
            let is_it = match (&entry.value, &shown.value) {
                (Some(held), Some(shown)) => Arc::ptr_eq(held, shown),
                (held, shown) => held.is_none() && shown.is_none(),
            };
            is_it && entries.is_current(entry, now)
        });
        let doubt = if is_unchanged == Some(true) { entries.doubt_now() } else { now.since(self.as_of) };
        Lookup { age: doubt, source: Source::Memory, stale_for: Some(doubt), ..Self::same(shown) }
    }

    fn has_ended(&self) -> bool {
        self.reads.entries.is_retired()
    }
}
