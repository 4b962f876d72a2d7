//! Reads of rows by key.

use super::Cache;
use crate::codec::key::{Key, LookUp};
use crate::codec::value::CacheValue;
use crate::error::Error;
use crate::read::{Freshness, Lookup, Request};
use futures_util::future::join_all;
use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

impl<K: Key, V: CacheValue> Cache<K, V> {
    /// The row, from memory if it is held, else loaded. `None`: there is no such row.
    ///
    /// Writes of this client that Postgres does not have yet are already in it.
    ///
    /// # Errors
    /// [`Error::is_unavailable`] when it must be loaded and Postgres cannot be reached.
    #[inline]
    pub fn get<'a, Q: ?Sized + Sync>(
        &'a self,
        key: &'a Q,
    ) -> impl Future<Output = Result<Option<Arc<V>>, Error>> + use<'a, K, V, Q>
    where
        K: LookUp<Q>,
    {
        self.read(key, Request::Single, Option::clone)
    }

    /// Shows the row to `look`, or `None` if there is no such row, without sharing it: readers of one row on many threads do not meet
    /// at its reference count. What is replaced in the cache meanwhile keeps its memory until `look` has returned, so it should
    /// be quick.
    ///
    /// # Errors
    /// As [`Cache::get`].
    #[inline]
    pub fn with<'a, Q: ?Sized + Sync, R, L: FnOnce(Option<&V>) -> R>(
        &'a self,
        key: &'a Q,
        look: L,
    ) -> impl Future<Output = Result<R, Error>> + use<'a, K, V, Q, R, L>
    where
        K: LookUp<Q>,
    {
        let mut look = Some(look);
        self.read(key, Request::Single, move |value| look.take().expect("one looks once")(value.as_deref()))
    }

    /// Shows what memory holds, or what is loaded: one of them, once.
    ///
    /// No `async fn`: the state of one lies in memory and is moved there, in other pieces than it was written in, which keeps a processor from
    /// beginning the next read while it waits for the entry of this one. What a hit needs of this stays in registers; a load has memory
    /// of its own.
    #[inline]
    pub(super) fn read<'a, Q: ?Sized + Sync, R, S: FnMut(&Option<Arc<V>>) -> R>(
        &'a self,
        key: &'a Q,
        request: Request,
        mut show: S,
    ) -> impl Future<Output = Result<R, Error>> + use<'a, K, V, Q, R, S>
    where
        K: LookUp<Q>,
    {
        let mut loading = None;
        poll_fn(move |context| {
            let loading = match &mut loading {
                Some(loading) => loading,
                None => {
                    let hash = self.hash(key);
                    if let Some(seen) = self.reads.hit(key, hash, |entry| show(&entry.value)) {
                        return Poll::Ready(Ok(seen));
                    }
                    loading.insert(self.reads.load(K::key(key), hash, request, Freshness::Cached))
                }
            };
            loading.as_mut().poll(context).map_ok(|read| show(&read.value))
        })
    }

    /// The row, as fresh as is asked for, and what is known about it.
    ///
    /// ```no_run
    /// # use cache_sync::{Cache, Error, Freshness, Version};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Profile { name: String }
    /// # async fn look(profiles: Cache<i64, Profile>, written: Version) -> Result<(), Error> {
    /// let price = profiles.lookup(&7, Freshness::AtMost(Duration::from_millis(500))).await?;
    /// let what_they_wrote = profiles.lookup(&7, Freshness::AtLeast(written)).await?;
    /// let before_paying = profiles.lookup(&7, Freshness::Latest).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Cache::get`]; but only what is [`Freshness::Cached`] is served stale where the cache allows that for outages. [`Error::is_unavailable`] also when Postgres does not have the version
    /// that is asked for, and [`Error::is_rule_violation`] when one is asked for of a plain table.
    pub async fn lookup<Q: ?Sized + Sync>(&self, key: &Q, freshness: Freshness) -> Result<Lookup<V>, Error>
    where
        K: LookUp<Q>,
    {
        if matches!(freshness, Freshness::AtLeast(_)) {
            self.check_versioned()?;
        }
        let hash = self.hash(key);
        match self.reads.hit_if(key, hash, freshness) {
            Some(held) => Ok(held),
            None => self.reads.load(K::key(key), hash, Request::Single, freshness).await,
        }
    }

    /// The row if memory holds it; never loads. The outer `None`: it is not held, or may not be served.
    pub fn cached<Q: ?Sized>(&self, key: &Q) -> Option<Option<Arc<V>>>
    where
        K: LookUp<Q>,
    {
        self.reads.entries.read(key, self.hash(key), |entry| Some(entry.value.clone()))
    }

    /// As [`Cache::cached`], with what is known about the value.
    pub fn held<Q: ?Sized>(&self, key: &Q) -> Option<Lookup<V>>
    where
        K: LookUp<Q>,
    {
        self.reads.held(key, self.hash(key))
    }

    /// The rows in the order of the keys. What is not held is loaded in batches.
    ///
    /// # Errors
    /// As [`Cache::get`], for the first key that fails.
    pub async fn get_many(&self, keys: &[K]) -> Result<Vec<Option<Arc<V>>>, Error> {
        let mut values = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let hash = self.hash(key);
            values.push(self.reads.hit(key, hash, |entry| entry.value.clone()).unwrap_or_else(|| {
                missing.push((at, self.reads.load(Cow::Borrowed(key), hash, Request::OneOfMany, Freshness::Cached)));
                None
            }));
        }
        let (places, loads): (Vec<usize>, Vec<_>) = missing.into_iter().unzip();
        for (at, read) in places.into_iter().zip(join_all(loads).await) {
            values[at] = read?.value;
        }
        Ok(values)
    }
}
