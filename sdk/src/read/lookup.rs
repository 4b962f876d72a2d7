//! How fresh an answer has to be, and what is known of one.

use crate::common::time::Moment;
use cache_sync_core::number::Version;
use std::sync::Arc;
use std::time::Duration;

/// How fresh an answer has to be: for [`Cache::lookup`](crate::Cache::lookup).
///
/// Writes of this client that Postgres does not have yet are in it, whatever is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// As [`Cache::get`](crate::Cache::get): from memory while the feed is heard, within
    /// [`ClientBuilder::feed_timeout`](crate::ClientBuilder::feed_timeout); else from Postgres, unless the cache may serve what is stale.
    #[default]
    Cached,
    /// Everything that was committed longer ago than this is in it. From memory if that is known of what is held, else from Postgres. The
    /// feed says it with every change, and while there is none once in `cache_sync.heartbeat_interval` (1 s), so shorter times
    /// ask Postgres often. A time longer than the client's bound takes what the feed, while it is silent, has not confirmed for so long; but nothing of which
    /// it has told that it may have changed.
    AtMost(Duration),
    /// The row has this version, or a later one; or it is gone. From memory if that is so there, else from Postgres. For reading what somebody else
    /// has written, whose [`Outcome::version`](crate::Outcome::version) it is. Of versioned tables only.
    AtLeast(Version),
    /// Everything that was committed before the call is in it. Always asks Postgres, the primary; who asks at the same moment shares a load.
    Latest,
}

impl Freshness {
    /// Whether what is held is enough: at this version, and in step as of then.
    pub(super) fn takes(self, version: Version, in_step_at: Moment, now: Moment) -> bool {
        match self {
            Freshness::Cached => true,
            Freshness::AtMost(age) => now.since(in_step_at) <= age,
            Freshness::AtLeast(least) => version >= least,
            Freshness::Latest => false,
        }
    }

    /// When the load must have begun that shows enough, if changes are heard within this bound.
    pub(super) fn since(self, now: Moment, bound: Duration) -> Moment {
        match self {
            Freshness::Cached => now.before(bound),
            Freshness::AtMost(age) => now.before(age.min(bound)),
            Freshness::AtLeast(_) | Freshness::Latest => now,
        }
    }
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// It was held.
    Memory,
    /// It was loaded for this call, or for others who asked at the same moment.
    Postgres,
}

/// A row as it was looked up, with what is known about it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Lookup<V> {
    /// The row, or `None` if there is none.
    pub value: Option<Arc<V>>,
    /// The version of the row as it was loaded or written last; writes that Postgres does not have yet are in the value
    /// but not in the version. [`Version::NONE`] on plain tables, and where the version is not known.
    pub version: Version,
    /// Everything that was committed longer ago than this, when the answer was given, is in it.
    pub age: Duration,
    /// Where it comes from.
    pub source: Source,
    /// `None`: the value could be confirmed, by the feed or by Postgres. Else the feed is not heard, or has missed changes, or the row has changed and is
    /// being loaded again ([`CacheBuilder::stale_while_refreshing`](crate::CacheBuilder::stale_while_refreshing)), and this is the time for which the
    /// value has been in doubt.
    pub stale_for: Option<Duration>,
}

#[cfg(feature = "in-memory")]
impl<V> Lookup<V> {
    /// A look-up of one's own, as if just loaded, for tests of what a service makes of it; its other fields can be set then.
    pub fn made(value: Option<V>, version: Version) -> Lookup<V> {
        let value = value.map(Arc::new);
        Lookup { value, version, age: Duration::ZERO, source: Source::Postgres, stale_for: None }
    }
}
