//! Settings, each with its default, unit and bounds.

use crate::error::{Error, ErrorKind};
use std::time::Duration;

/// How long a connection may go unanswered by the other host before it counts as broken, unless the DSN says otherwise.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 4;

/// What a write does when the buffer has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Wait until the flusher has made room.
    #[default]
    Wait,
    /// Fail with an error that [`is_full`](Error::is_full).
    Refuse,
}

/// When a write returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once it is in this process's buffer; a crash of the process before the next flush loses it.
    #[default]
    Memory,
    /// Once Postgres has committed it.
    Database,
}

/// The settings of a [`Client`](crate::Client).
#[derive(Clone)]
pub(crate) struct ClientConfig {
    pub(crate) postgres: tokio_postgres::Config,
    pub(crate) standby: Option<tokio_postgres::Config>,
    pub(crate) pool_size: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) query_timeout: Duration,
    pub(crate) feed_timeout: Duration,
    pub(crate) stale_while_unavailable: Duration,
    pub(crate) buffer_entries_max: usize,
    pub(crate) buffer_bytes_max: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) flush_interval: Duration,
    pub(crate) batch_entries_max: usize,
    pub(crate) query_results_max: u64,
    pub(crate) query_results_bytes_max: u64,
}

impl ClientConfig {
    pub(crate) fn new(dsn: &str) -> Result<ClientConfig, Error> {
        let postgres = parse(dsn)?;
        Ok(ClientConfig {
            postgres,
            standby: None,
            pool_size: 4,
            connect_timeout: Duration::from_secs(5),
            query_timeout: Duration::from_secs(30),
            feed_timeout: Duration::from_secs(3),
            stale_while_unavailable: Duration::ZERO,
            buffer_entries_max: 100_000,
            buffer_bytes_max: 64 << 20,
            when_full: WhenFull::Wait,
            flush_interval: Duration::from_millis(5),
            batch_entries_max: 1000,
            query_results_max: 1000,
            query_results_bytes_max: 64 << 20,
        })
    }

    /// Sets a hot standby to load from.
    pub(crate) fn set_standby(&mut self, dsn: &str) -> Result<(), Error> {
        self.standby = Some(parse(dsn)?);
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let within = |name: &str, value: usize, min: usize, max: usize| match (min..=max).contains(&value) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Config, format!("{name} is {value}; it must be from {min} to {max}"))),
        };
        let millis = |duration: Duration| usize::try_from(duration.as_millis()).unwrap_or(usize::MAX);
        within("pool_size", self.pool_size, 1, 10_000)?;
        within("connect_timeout in milliseconds", millis(self.connect_timeout), 1, 3_600_000)?;
        within("query_timeout in milliseconds", millis(self.query_timeout), 1, 3_600_000)?;
        within("feed_timeout in milliseconds", millis(self.feed_timeout), 100, 3_600_000)?;
        within("buffer_entries_max", self.buffer_entries_max, 1, 100_000_000)?;
        within("buffer_bytes_max", self.buffer_bytes_max, 1024, 1 << 40)?;
        within("flush_interval in milliseconds", millis(self.flush_interval), 0, 3_600_000)?;
        within("batch_entries_max", self.batch_entries_max, 1, 10_000)
    }
}

/// Reads a DSN, and fills in what it leaves open.
fn parse(dsn: &str) -> Result<tokio_postgres::Config, Error> {
    // The cause is left out on purpose: it may quote the DSN, and with it a password.
    let mut postgres: tokio_postgres::Config =
        dsn.parse().map_err(|_| Error::new(ErrorKind::Config, "the DSN is not a valid Postgres connection string"))?;
    if postgres.get_application_name().is_none() {
        postgres.application_name("cache_sync");
    }
    // A network that swallows everything must not hold a connection for the hours that TCP allows by itself.
    if postgres.get_tcp_user_timeout().is_none() {
        postgres.tcp_user_timeout(UNANSWERED_MAX);
    }
    if postgres.get_keepalives_interval().is_none() {
        let interval = UNANSWERED_MAX / KEEPALIVE_RETRIES;
        postgres.keepalives_idle(interval).keepalives_interval(interval).keepalives_retries(KEEPALIVE_RETRIES);
    }
    Ok(postgres)
}

/// The settings of a [`Cache`](crate::Cache).
#[derive(Clone, Debug)]
pub(crate) struct CacheConfig {
    pub(crate) max_capacity: u64,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) durability: Durability,
    pub(crate) members: Option<Vec<String>>,
}

/// What a cache may hold, in bytes, unless it is told: so much, or so much for each entry, whichever is more.
const CACHE_BYTES_MAX: u64 = 256 << 20;
const ENTRY_BYTES: u64 = 1 << 10;

impl CacheConfig {
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max.unwrap_or_else(|| CACHE_BYTES_MAX.max(self.max_capacity.saturating_mul(ENTRY_BYTES)))
    }
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig {
            max_capacity: 10_000,
            bytes_max: None,
            time_to_live: None,
            durability: Durability::Memory,
            members: None,
        }
    }
}
