//! How a cache is brought into a service that reads Postgres by itself: step by step, and compared with Postgres all the while.

use super::{Cache, CacheBuilder};
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::config::Mode;
use crate::error::Error;

impl<K: Key, V: CacheValue> CacheBuilder<K, V> {
    /// What the cache does at first. Default [`Mode::On`]. A cache that has gone back by itself, in another process or before a restart, begins as
    /// this says.
    pub fn mode(mut self, mode: Mode) -> CacheBuilder<K, V> {
        self.config.mode = mode;
        self
    }

    /// Compares this share of the hits with what Postgres says, some time later: 0.001 is one in a thousand. Default 0, none; at most 1, all.
    ///
    /// No reader waits for it. Up to 1,000 hits wait to be compared, while as many are being compared; they share statements, of which there is one at a time
    /// for all caches of a client, and each gives way for up to a second to keys of this cache that nobody has begun to load. So comparisons take one connection of
    /// the pool at most: with a [`pool_size`](crate::ClientBuilder::pool_size) of 1 it is the one that loads need, and a reader who misses may wait
    /// behind a comparison for up to `query_timeout`. One that fails is followed by a pause of a second, or twice the last one, up to 30 s.
    /// Hits for which there is no room are left out, and so are all while Postgres is away or loads fail.
    ///
    /// [`CacheStatus`](crate::CacheStatus) counts what comes of it: [`verified_equal`](crate::CacheStatus::verified_equal);
    /// [`verified_behind`](crate::CacheStatus::verified_behind), where the row had just changed; [`violations`](crate::CacheStatus::violations), where
    /// it had and the cache would never have heard of it, which is certain and said in the log as well; and what has no verdict,
    /// [`unverified`](crate::CacheStatus::unverified). A row that is found so is loaded again. Where changes are heard by NOTIFY
    /// ([`FeedKind::Notify`](crate::FeedKind::Notify)), rows that differ have no verdict.
    pub fn verify(mut self, share: f64) -> CacheBuilder<K, V> {
        self.config.verified_share = share;
        self
    }

    /// Goes back to [`Mode::Shadow`] by itself when so many violations have been found since the mode was set, by [`verify`](CacheBuilder::verify) or
    /// with rows that are not served: then all reads ask Postgres, which must be able to bear that. It stays so until
    /// [`Cache::set_mode`] asks for another mode than it did last. Default: it stays as it is; at least 1. A cache that is opened [`Mode::On`] needs
    /// `verify` for that, or nothing would be found.
    pub fn retreat_after(mut self, violations: u64) -> CacheBuilder<K, V> {
        self.config.retreat_after = Some(violations);
        self
    }
}

impl<K: Key, V: CacheValue> Cache<K, V> {
    /// What the cache does at present: what was set last, or [`Mode::Shadow`] where it has gone back by itself
    /// ([`CacheStatus::has_retreated`](crate::CacheStatus::has_retreated)).
    pub fn mode(&self) -> Mode {
        self.reads.entries.mode()
    }

    /// Changes what the cache does, here and now: reads and writes that begin after the call go by it. For all handles of this cache, in this process
    /// alone. What had led a cache to go back by itself begins to count anew.
    ///
    /// The mode that was asked for last, or that the cache was opened in, changes nothing when it is asked for again; so it does not undo that a
    /// cache has gone back by itself. Ask for [`Mode::Shadow`] first, and then for the other one.
    ///
    /// [`Mode::Off`] lets everything go that is held, which takes a moment for each 10,000 entries or so.
    ///
    /// ```no_run
    /// # use cache_sync::{Cache, Error, Mode};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Profile { name: String }
    /// # fn go_on(profiles: &Cache<i64, Profile>) -> Result<(), Error> {
    /// profiles.set_mode(Mode::Canary(0.05))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The share is no number from 0 to 1.
    pub fn set_mode(&self, mode: Mode) -> Result<(), Error> {
        mode.check()?;
        self.reads.entries.set_mode(mode);
        Ok(())
    }
}
