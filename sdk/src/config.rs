//! Settings, each with its default, unit and bounds.

mod dsn;
mod mode;
pub(crate) mod tls;

pub use mode::Mode;
pub(crate) use mode::Stance;

use crate::error::{Error, ErrorKind};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tls::{SslMode, TlsTerms};

/// How long a connection may go unanswered by the other host before it counts as broken, unless the DSN says otherwise.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 4;

/// What a write does when the buffer has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// Wait until the flusher has made room.
    #[default]
    Wait,
    /// Fail with an error that [`is_full`](Error::is_full).
    Refuse,
}

/// What a buffer takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub(crate) entries_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) when_full: WhenFull,
}

impl Buffer {
    fn check(self) -> Result<(), Error> {
        within("buffer_entries_max", self.entries_max, 1, 100_000_000)?;
        within("buffer_bytes_max", self.bytes_max, 1024, 1 << 40)
    }
}

/// When a write returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Once it is in this process's buffer; a crash of the process before the next flush loses it.
    #[default]
    Memory,
    /// Once Postgres has committed it. Such a write is sent at once, whatever the flush interval is.
    Database,
}

/// Knows the password of each moment, where passwords are rotated: for [`ClientBuilder::credentials`](crate::ClientBuilder::credentials).
///
/// ```
/// use cache_sync::Credentials;
///
/// struct FromFile(std::path::PathBuf);
///
/// #[async_trait::async_trait]
/// impl Credentials for FromFile {
///     async fn password(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
///         Ok(std::fs::read_to_string(&self.0)?.trim().to_owned())
///     }
/// }
/// ```
#[async_trait]
pub trait Credentials: Send + Sync {
    /// The password for a connection that is made now. It is asked for each, and may take as long as connecting may
    /// ([`ClientBuilder::connect_timeout`](crate::ClientBuilder::connect_timeout)).
    ///
    /// # Errors
    /// Whatever the reason: the connection is tried again later.
    async fn password(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>>;
}

/// A server, as a DSN says it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) postgres: tokio_postgres::Config,
    pub(crate) tls: TlsTerms,
}

impl Server {
    fn new(dsn: &str) -> Result<Server, Error> {
        let (postgres, tls) = dsn::read(dsn)?;
        Ok(Server { postgres: filled_in(postgres), tls })
    }

    fn of(postgres: tokio_postgres::Config) -> Server {
        let tls = TlsTerms::of(SslMode::of(postgres.get_ssl_mode()));
        Server { postgres: filled_in(postgres), tls }
    }
}

/// The settings of a [`Client`](crate::Client).
#[derive(Clone)]
pub(crate) struct ClientConfig {
    pub(crate) primary: Server,
    pub(crate) standby: Option<Server>,
    pub(crate) credentials: Option<Arc<dyn Credentials>>,
    pub(crate) pool_size: usize,
    /// The application's own.
    pub(crate) pool: Option<deadpool_postgres::Pool>,
    pub(crate) connect_timeout: Duration,
    pub(crate) query_timeout: Duration,
    pub(crate) feed_timeout: Duration,
    pub(crate) stale_while_unavailable: Duration,
    pub(crate) stale_after: Duration,
    pub(crate) buffer: Buffer,
    pub(crate) flush_interval: Duration,
    pub(crate) batch_entries_max: usize,
    pub(crate) query_results_max: u64,
    pub(crate) query_results_bytes_max: u64,
    pub(crate) write_timeout: Duration,
    /// How long connecting is tried again.
    pub(crate) retry_for: Duration,
    /// How often counters and gauges are published.
    pub(crate) metrics_interval: Duration,
}

/// How what cannot be confirmed is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StaleService {
    /// For so long after it was last known to be in step.
    pub(crate) max: Duration,
    /// Once Postgres has let a read wait for so long.
    pub(crate) after: Duration,
}

impl StaleService {
    fn of(max: Duration, after: Duration) -> Option<StaleService> {
        (max > Duration::ZERO).then_some(StaleService { max, after })
    }
}

impl ClientConfig {
    pub(crate) fn new(dsn: &str) -> Result<ClientConfig, Error> {
        Server::new(dsn).map(ClientConfig::at)
    }

    pub(crate) fn of(postgres: tokio_postgres::Config) -> ClientConfig {
        ClientConfig::at(Server::of(postgres))
    }

    fn at(primary: Server) -> ClientConfig {
        ClientConfig {
            primary,
            standby: None,
            credentials: None,
            pool_size: 4,
            pool: None,
            connect_timeout: Duration::from_secs(5),
            query_timeout: Duration::from_secs(30),
            feed_timeout: Duration::from_secs(3),
            stale_while_unavailable: Duration::ZERO,
            stale_after: Duration::from_secs(1),
            buffer: Buffer { entries_max: 100_000, bytes_max: 64 << 20, when_full: WhenFull::Wait },
            flush_interval: Duration::from_millis(5),
            batch_entries_max: 1000,
            query_results_max: 1000,
            query_results_bytes_max: 64 << 20,
            write_timeout: Duration::from_secs(60),
            retry_for: Duration::ZERO,
            metrics_interval: Duration::from_secs(5),
        }
    }

    /// How what cannot be confirmed is served, if it is.
    pub(crate) fn stale_service(&self) -> Option<StaleService> {
        StaleService::of(self.stale_while_unavailable, self.stale_after)
    }

    /// Sets a hot standby to load from.
    pub(crate) fn set_standby(&mut self, dsn: &str) -> Result<(), Error> {
        self.standby = Some(Server::new(dsn)?);
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        within("pool_size", self.pool_size, 1, 10_000)?;
        within("connect_timeout in milliseconds", millis(self.connect_timeout), 1, 3_600_000)?;
        within("query_timeout in milliseconds", millis(self.query_timeout), 1, 3_600_000)?;
        within("feed_timeout in milliseconds", millis(self.feed_timeout), 100, 3_600_000)?;
        self.buffer.check()?;
        within("metrics_interval in milliseconds", millis(self.metrics_interval), 100, 3_600_000)?;
        check_batches(self.flush_interval, self.batch_entries_max)
    }

    /// The name of the database, as libpq takes it: the user's, unless it is said.
    pub(crate) fn database(&self) -> &str {
        let postgres = &self.primary.postgres;
        postgres.get_dbname().or(postgres.get_user()).unwrap_or_default()
    }
}

fn within(name: &str, value: usize, min: usize, max: usize) -> Result<(), Error> {
    match (min..=max).contains(&value) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Config, format!("{name} is {value}; it must be from {min} to {max}"))),
    }
}

fn millis(duration: Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}

fn check_batches(flush_interval: Duration, batch_entries_max: usize) -> Result<(), Error> {
    within("flush_interval in milliseconds", millis(flush_interval), 0, 3_600_000)?;
    within("batch_entries_max", batch_entries_max, 1, 10_000)
}

/// What a DSN leaves open.
fn filled_in(mut postgres: tokio_postgres::Config) -> tokio_postgres::Config {
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
    postgres
}

/// So much of a time. Times without end are just below what can be said, and rounded above it.
pub(crate) fn share_of(time: Duration, share: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * share).unwrap_or(time)
}

/// For how long a cache's entries are good.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ages {
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) absent_time_to_live: Option<Duration>,
    pub(crate) time_to_idle: Option<Duration>,
    /// Up to this share of the times to live is left out, by chance.
    pub(crate) jitter: f64,
    /// Who hits an entry when this share of its time to live is left, or less, has it loaded again.
    pub(crate) refresh_ahead: f64,
}

/// The settings of a [`Cache`](crate::Cache).
#[derive(Clone, Debug)]
pub(crate) struct CacheConfig {
    pub(crate) max_capacity: u64,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) ages: Ages,
    pub(crate) loads_max: usize,
    pub(crate) waiting_keys_max: usize,
    pub(crate) fails_fast: bool,
    /// Those of the client, where there is none.
    pub(crate) flush_interval: Option<Duration>,
    pub(crate) batch_entries_max: Option<usize>,
    pub(crate) buffer_entries_max: Option<usize>,
    pub(crate) buffer_bytes_max: Option<usize>,
    pub(crate) when_full: Option<WhenFull>,
    pub(crate) durability: Durability,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) stale_while_unavailable: Option<Duration>,
    pub(crate) stale_after: Option<Duration>,
    /// Zero: what is superseded is not served.
    pub(crate) stale_while_refreshing: Duration,
    pub(crate) refresh_on_change: bool,
    pub(crate) mode: Mode,
    /// This share of hits is compared with Postgres.
    pub(crate) verified_share: f64,
    /// After so many violations the cache goes back to Shadow.
    pub(crate) retreat_after: Option<u64>,
    pub(crate) members: Option<Vec<String>>,
}

/// What a cache may hold, in bytes, unless it is told: so much, or so much for each entry, whichever is more.
const CACHE_BYTES_MAX: u64 = 256 << 20;
const ENTRY_BYTES: u64 = 1 << 10;

impl CacheConfig {
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max.unwrap_or_else(|| CACHE_BYTES_MAX.max(self.max_capacity.saturating_mul(ENTRY_BYTES)))
    }

    pub(crate) fn flush_interval(&self, client: &ClientConfig) -> Duration {
        self.flush_interval.unwrap_or(client.flush_interval)
    }

    pub(crate) fn batch_entries_max(&self, client: &ClientConfig) -> usize {
        self.batch_entries_max.unwrap_or(client.batch_entries_max)
    }

    /// What of the client's buffer this cache may take, if that has bounds of its own.
    pub(crate) fn buffer(&self, client: &ClientConfig) -> Option<Buffer> {
        let has_its_own =
            self.buffer_entries_max.is_some() || self.buffer_bytes_max.is_some() || self.when_full.is_some();
        has_its_own.then(|| Buffer {
            entries_max: self.buffer_entries_max.unwrap_or(client.buffer.entries_max),
            bytes_max: self.buffer_bytes_max.unwrap_or(client.buffer.bytes_max),
            when_full: self.when_full.unwrap_or(client.buffer.when_full),
        })
    }

    pub(crate) fn check(&self, client: &ClientConfig) -> Result<(), Error> {
        let Ages { time_to_live, time_to_idle, absent_time_to_live, jitter, refresh_ahead } = self.ages;
        let misfit = |message: String| Err(Error::new(ErrorKind::Config, message));
        for (name, time) in [
            ("time_to_live", time_to_live),
            ("time_to_idle", time_to_idle),
            ("absent_time_to_live", absent_time_to_live),
        ] {
            if time == Some(Duration::ZERO) {
                return misfit(format!("{name} is zero, so nothing would be held; set max_capacity(0) for that"));
            }
        }
        for (name, share) in [("time_to_live_jitter", jitter), ("refresh_ahead", refresh_ahead)] {
            if !(0.0..1.0).contains(&share) {
                return misfit(format!("{name} is {share}; it must be a share from 0 to less than 1"));
            }
        }
        if time_to_live.is_none() && (refresh_ahead > 0.0 || jitter > 0.0 && absent_time_to_live.is_none()) {
            return misfit(
                "refresh_ahead and time_to_live_jitter are shares of time_to_live, which is not set".to_owned(),
            );
        }
        if jitter + refresh_ahead >= 1.0 {
            return misfit(format!(
                "time_to_live_jitter and refresh_ahead are {jitter} and {refresh_ahead}; together they must be less than 1"
            ));
        }
        self.mode.check_with(self.verified_share, self.retreat_after)?;
        within("loads_max", self.loads_max, 1, 64)?;
        within("waiting_keys_max", self.waiting_keys_max, 1, usize::MAX)?;
        self.buffer(client).map_or(Ok(()), Buffer::check)?;
        check_batches(self.flush_interval(client), self.batch_entries_max(client))
    }

    /// How what cannot be confirmed is served, if it is.
    pub(crate) fn stale_service(&self, client: &ClientConfig) -> Option<StaleService> {
        StaleService::of(
            self.stale_while_unavailable.unwrap_or(client.stale_while_unavailable),
            self.stale_after.unwrap_or(client.stale_after),
        )
    }
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig {
            max_capacity: 10_000,
            bytes_max: None,
            ages: Ages::default(),
            loads_max: 2,
            waiting_keys_max: usize::MAX,
            fails_fast: false,
            flush_interval: None,
            batch_entries_max: None,
            buffer_entries_max: None,
            buffer_bytes_max: None,
            when_full: None,
            durability: Durability::Memory,
            write_timeout: None,
            stale_while_unavailable: None,
            stale_after: None,
            stale_while_refreshing: Duration::ZERO,
            refresh_on_change: false,
            mode: Mode::On,
            verified_share: 0.0,
            retreat_after: None,
            members: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_of_a_time_without_end_is_itself() {
        assert_eq!(share_of(Duration::MAX, 1.0), Duration::MAX);
        assert_eq!(share_of(Duration::from_secs(10), 0.5), Duration::from_secs(5));
    }
}
