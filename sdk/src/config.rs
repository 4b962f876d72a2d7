//! Settings, each with its default, unit and bounds.

use crate::error::{Error, ErrorKind, root_cause};
use async_trait::async_trait;
use std::sync::Arc;
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

/// The settings of a [`Client`](crate::Client).
#[derive(Clone)]
pub(crate) struct ClientConfig {
    pub(crate) postgres: tokio_postgres::Config,
    pub(crate) standby: Option<tokio_postgres::Config>,
    pub(crate) credentials: Option<Arc<dyn Credentials>>,
    pub(crate) pool_size: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) query_timeout: Duration,
    pub(crate) feed_timeout: Duration,
    pub(crate) stale_while_unavailable: Duration,
    pub(crate) stale_after: Duration,
    pub(crate) buffer_entries_max: usize,
    pub(crate) buffer_bytes_max: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) flush_interval: Duration,
    pub(crate) batch_entries_max: usize,
    pub(crate) query_results_max: u64,
    pub(crate) query_results_bytes_max: u64,
    pub(crate) write_timeout: Option<Duration>,
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
        let postgres = parse(dsn)?;
        Ok(ClientConfig {
            postgres,
            standby: None,
            credentials: None,
            pool_size: 4,
            connect_timeout: Duration::from_secs(5),
            query_timeout: Duration::from_secs(30),
            feed_timeout: Duration::from_secs(3),
            stale_while_unavailable: Duration::ZERO,
            stale_after: Duration::from_secs(1),
            buffer_entries_max: 100_000,
            buffer_bytes_max: 64 << 20,
            when_full: WhenFull::Wait,
            flush_interval: Duration::from_millis(5),
            batch_entries_max: 1000,
            query_results_max: 1000,
            query_results_bytes_max: 64 << 20,
            write_timeout: None,
        })
    }

    /// How what cannot be confirmed is served, if it is.
    pub(crate) fn stale_service(&self) -> Option<StaleService> {
        StaleService::of(self.stale_while_unavailable, self.stale_after)
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
    let mut postgres: tokio_postgres::Config = dsn.parse().map_err(|error| {
        let mut message = "the DSN is not a valid Postgres connection string".to_owned();
        if let Some(why) = may_be_said(dsn, &root_cause(&error)) {
            message = format!("{message}: {why}");
        }
        // The cause itself is left out on purpose: it may quote the DSN, and with it a password.
        Error::new(ErrorKind::Config, message)
    })?;
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

/// Options that libpq knows and the driver does not.
const OF_LIBPQ: &str = "client_encoding fallback_application_name gssdelegation gssencmode gsslib krbsrvname passfile replication \
                        require_auth requirepeer requiressl service servicefile ssl_max_protocol_version \
                        ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslpassword \
                        sslrootcert sslsni";

/// What the driver says of a DSN, unless that may be a part of a password that was written without the escapes that it needs.
fn may_be_said(dsn: &str, why: &str) -> Option<String> {
    let name = why.split('`').nth(1)?;
    let option = format!("{name}=");
    let ends_a_word = |ahead: &&str| ahead.ends_with(char::is_whitespace);
    let mut places = dsn.match_indices(&option).map(|(place, _)| &dsn[..place]);
    let ahead = places.find(ends_a_word).unwrap_or_default();
    let is_safe = match ahead.rsplit_once('=') {
        _ if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => false,
        // The driver's own name for it.
        _ if why.starts_with("invalid value for option") => true,
        _ if OF_LIBPQ.split(' ').any(|known| known == name) => true,
        // Behind the password, if there is one.
        _ if dsn.contains("://") => dsn.rsplit('@').next().is_some_and(|rest| rest.contains(&option)),
        Some((ahead, _)) => !ahead.trim_end().ends_with("password"),
        None => true,
    };
    is_safe.then(|| why.to_owned())
}

/// The settings of a [`Cache`](crate::Cache).
#[derive(Clone, Debug)]
pub(crate) struct CacheConfig {
    pub(crate) max_capacity: u64,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) durability: Durability,
    pub(crate) write_timeout: Option<Duration>,
    /// Those of the client, where there is none.
    pub(crate) stale_while_unavailable: Option<Duration>,
    pub(crate) stale_after: Option<Duration>,
    pub(crate) members: Option<Vec<String>>,
}

/// What a cache may hold, in bytes, unless it is told: so much, or so much for each entry, whichever is more.
const CACHE_BYTES_MAX: u64 = 256 << 20;
const ENTRY_BYTES: u64 = 1 << 10;

impl CacheConfig {
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max.unwrap_or_else(|| CACHE_BYTES_MAX.max(self.max_capacity.saturating_mul(ENTRY_BYTES)))
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
            time_to_live: None,
            durability: Durability::Memory,
            write_timeout: None,
            stale_while_unavailable: None,
            stale_after: None,
            members: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(dsn: &str) -> String {
        ClientConfig::new(dsn).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_option_that_is_not_understood_is_named() {
        for (dsn, option) in [
            ("postgres://u:secret@h/d?sslmode=verify-full", "`sslmode`"),
            ("postgres://u:secret@h/d?sslrootcert=/ca.pem", "`sslrootcert`"),
            ("postgres://u:secret@h/d?aplication_name=x", "`aplication_name`"),
            ("host=h password=secret sslrootcert=/ca.pem", "`sslrootcert`"),
            ("host=h aplication_name=x password=secret", "`aplication_name`"),
            ("host=h port=none", "`port`"),
        ] {
            let said = said(dsn);
            assert!(said.contains(option) && !said.contains("secret"), "{dsn}: {said}");
        }
    }

    #[test]
    fn no_part_of_a_password_is_said() {
        for dsn in [
            "postgres://u:p?word@h/d",
            "postgres://u:p?word=1@h/d",
            "postgres://u:p@word?x=1@h/d",
            "host=h password=pass word=1",
            "host=h password='pass word' word=1 password=x word=2",
            "postgres://u:p/word@h/d?x",
        ] {
            let said = said(dsn);
            assert!(!said.contains("word"), "{dsn}: {said}");
        }
    }
}
