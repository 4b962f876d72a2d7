//! Who is compared.

use super::child;
use super::load::Field;
use cache_sync::Durability;
use cache_sync_kit::Result;
use cache_sync_peers::{CacheAside, CacheSync, Foyer, Notified, Plain, Tracked};
use std::sync::Arc;
use std::time::Duration;

/// For how long ours serves what nobody confirms any more: less than by default, so that a turn is several times as long and a read beyond
/// it can be seen. Where it is shorter still, a busy machine that delays the feed costs loads.
const FEED_TIMEOUT: Duration = Duration::from_secs(1);
/// How long rows stay in a cache that is told of changes, or deletes what is written itself.
const LONG: Duration = Duration::from_secs(300);
/// How long they stay where nobody tells.
const SHORT: Duration = Duration::from_secs(1);
/// More than there are: whether they stay is not what is compared.
const HELD_MAX: u64 = 4_000_000;

/// One of those who are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    OursDurable,
    Plain,
    CacheAside,
    Tracked,
    Notified,
    Foyer,
}

impl Kind {
    pub(super) const ALL: [Kind; 7] =
        [Kind::Ours, Kind::OursDurable, Kind::Plain, Kind::CacheAside, Kind::Tracked, Kind::Notified, Kind::Foyer];

    /// As which its process is started.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Ours => "ours",
            Kind::OursDurable => "ours_durable",
            Kind::Plain => "plain",
            Kind::CacheAside => "cache_aside",
            Kind::Tracked => "tracked",
            Kind::Notified => "notified",
            Kind::Foyer => "foyer",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Kind::Ours => "cache_sync",
            Kind::OursDurable => "cache_sync, durable writes",
            Kind::Plain => "Postgres alone",
            Kind::CacheAside => "Redis, cache-aside",
            Kind::Tracked => "Redis, client-side caching",
            Kind::Notified => "moka + LISTEN/NOTIFY",
            Kind::Foyer => "foyer, time to live",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(super) fn is_ours(self) -> bool {
        matches!(self, Kind::Ours | Kind::OursDurable)
    }

    pub(super) fn needs_redis(self) -> bool {
        matches!(self, Kind::CacheAside | Kind::Tracked)
    }

    /// Makes what it needs beside the table.
    pub(super) async fn install(self, dsn: &str) -> Result<()> {
        match self {
            Kind::Ours | Kind::OursDurable => CacheSync::install(dsn).await,
            Kind::Notified => Notified::install(dsn).await,
            Kind::Plain | Kind::CacheAside | Kind::Tracked | Kind::Foyer => Ok(()),
        }
    }

    /// Opens two nodes, and has them do what they are told.
    pub(super) async fn serve(self, dsn: &str, redis_url: &str, field: Arc<Field>) -> Result<()> {
        let durability = if self == Kind::OursDurable { Durability::Database } else { Durability::Memory };
        match self {
            Kind::Ours | Kind::OursDurable => {
                let open = async || CacheSync::open(dsn, HELD_MAX, durability, FEED_TIMEOUT).await;
                child::serve(twice(open).await?, dsn, field).await
            }
            Kind::Plain => child::serve(twice(async || Plain::open(dsn)).await?, dsn, field).await,
            Kind::CacheAside => {
                child::serve(twice(async || CacheAside::open(dsn, redis_url, LONG).await).await?, dsn, field).await
            }
            Kind::Tracked => {
                let open = async || Tracked::open(dsn, redis_url, HELD_MAX, LONG).await;
                child::serve(twice(open).await?, dsn, field).await
            }
            Kind::Notified => {
                child::serve(twice(async || Notified::open(dsn, HELD_MAX, LONG).await).await?, dsn, field).await
            }
            Kind::Foyer => {
                child::serve(twice(async || Foyer::open(dsn, HELD_MAX as usize, SHORT)).await?, dsn, field).await
            }
        }
    }
}

async fn twice<P>(open: impl AsyncFn() -> Result<P>) -> Result<[Arc<P>; 2]> {
    Ok([Arc::new(open().await?), Arc::new(open().await?)])
}
