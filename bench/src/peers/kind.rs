//! Who is compared.

use cache_sync_kit::Result;
use cache_sync_peers::{CacheSync, Notified};

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
}
