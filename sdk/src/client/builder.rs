//! The settings of a client, and how it connects.

use super::Client;
use super::shared::Shared;
use crate::common::Common;
use crate::common::freshness::FeedFreshness;
use crate::common::jittered;
use crate::config::{ClientConfig, Credentials, Server, WhenFull};
use crate::error::{Error, ErrorKind};
use crate::meter::ClientMeter;
use crate::pg::{Connector, Endpoint, Given, Login, Postgres, mode_for, prefer_primary, share_time};
use crate::read::Standby;
use crate::store::{Database, Store};
use crate::write::Budget;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

/// How long it is between two tries to connect; each time twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

impl Client {
    /// Connects with default settings.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect(dsn: &str) -> Result<Client, Error> {
        Client::builder(dsn).connect().await
    }

    /// Settings first. `dsn` is a Postgres connection string, of either form. Of several hosts the first one is taken that takes writes, unless
    /// `target_session_attrs` says otherwise. With the feature `tls` the connection is as encrypted as `sslmode` says, which is `prefer` by default: it
    /// promises nothing; `verify-full` does.
    pub fn builder(dsn: &str) -> ClientBuilder {
        ClientBuilder { config: ClientConfig::new(dsn), own_tls: None, database: None }
    }

    /// As [`Client::builder`], for an application that has its connection's settings otherwise than as a string. What they leave open is filled in as it
    /// is there.
    pub fn builder_from(postgres: tokio_postgres::Config) -> ClientBuilder {
        ClientBuilder { config: Ok(ClientConfig::of(postgres)), own_tls: None, database: None }
    }
}

/// Settings of a [`Client`] before it connects.
#[must_use]
pub struct ClientBuilder {
    config: Result<ClientConfig, Error>,
    own_tls: Option<Connector>,
    /// In place of the server of the DSN.
    database: Option<Arc<dyn Database>>,
}

/// Without the DSN, which may have a password.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("error", &self.config.as_ref().err()).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// Another database than the DSN's, which is only a name then.
    #[cfg(feature = "in-memory")]
    pub(super) fn database(self, database: Arc<dyn Database>) -> ClientBuilder {
        ClientBuilder { database: Some(database), ..self }
    }

    fn set(mut self, set: impl FnOnce(&mut ClientConfig)) -> ClientBuilder {
        if let Ok(config) = &mut self.config {
            set(config);
        }
        self
    }

    /// Who makes TLS connections instead of what the DSN says. Default, with the feature `tls`: as libpq does it, by the DSN's `sslmode`,
    /// `sslrootcert`, `sslcert`, `sslkey`, `sslcrl`, `sslsni`, `ssl_min_protocol_version` and `ssl_max_protocol_version`, whose files are
    /// read for each connection. Default without the feature: nobody; a DSN that needs TLS is an error.
    ///
    /// The connector is for all connections, those to the standby, too. `sslmode` still says whether there is to be TLS: never (`disable`), only
    /// where the server refuses to do without (`allow`), if the server has it (`prefer`, the default), or always. What is verified is the connector's
    /// own: with it `verify-ca` and `verify-full` are no more than `require`, and the DSN's files are not read. What the connector refuses is not
    /// tried without TLS.
    pub fn tls<T>(mut self, tls: T) -> ClientBuilder
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send + Sync + 'static,
        T::TlsConnect: Send + Sync,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        self.own_tls = Some(Connector::new(Given(tls)));
        self
    }

    /// Who is asked for the password of each new connection, also of those to the standby. Default: the DSN's password counts.
    ///
    /// With it a password may be rotated while the client works: connections that there are stay, and new ones get the new one.
    pub fn credentials(self, credentials: impl Credentials + 'static) -> ClientBuilder {
        self.set(|config| config.credentials = Some(Arc::new(credentials)))
    }

    /// Connections for loads. Default 4, from 1 to 10,000. The feed and the flusher have one more each.
    pub fn pool_size(self, connections: usize) -> ClientBuilder {
        self.set(|config| config.pool_size = connections)
    }

    /// Takes the connections for loads and queries from a pool that the application has for other work, too. It is not closed with the client; feed
    /// and flusher have connections of their own, made as `dsn` says. Default: a pool of the client's own, of
    /// [`pool_size`](ClientBuilder::pool_size).
    ///
    /// It is one of `deadpool-postgres` 0.14. It must have two connections at least, to the same database as `dsn`, and they must be such as `dsn` makes: of the same role, with the same
    /// `search_path` and the same style of dates. Nothing may be set on them that decides what a row-level policy shows, such as a tenant: what is
    /// read is held for everybody. One that comes otherwise, or in a transaction that somebody has left open, is closed. Whoever holds a
    /// connection while he reads from a cache may wait for himself: for half of [`query_timeout`](ClientBuilder::query_timeout), then the read fails
    /// ([`Error::is_overloaded`]).
    ///
    /// Each is set for reading when it is taken and set back before it returns, which costs a round trip each.
    ///
    /// The connections are as the pool makes them, whatever `dsn` says of TLS. That, or [`tls`](ClientBuilder::tls), is how requests go out to
    /// cancel what runs on one of them: where the pool has TLS, the client should have it, too.
    pub fn pool(self, pool: deadpool_postgres::Pool) -> ClientBuilder {
        self.set(|config| config.pool = Some(pool))
    }

    /// How long connecting may take. Default 5 s, at least 1 ms.
    pub fn connect_timeout(self, timeout: Duration) -> ClientBuilder {
        self.set(|config| config.connect_timeout = timeout)
    }

    /// How long a load or a batch may take. Default 30 s, at least 1 ms.
    pub fn query_timeout(self, timeout: Duration) -> ClientBuilder {
        self.set(|config| config.query_timeout = timeout)
    }

    /// The bound on staleness: how long after the feed was last heard entries may still be served. Default 3 s, at least
    /// 100 ms. The server sends a heartbeat every `cache_sync.heartbeat_interval` (1 s); keep this above it.
    pub fn feed_timeout(self, timeout: Duration) -> ClientBuilder {
        self.set(|config| config.feed_timeout = timeout)
    }

    /// For how long entries and results may be served while Postgres cannot be asked. Default zero: reads fail instead. A cache may
    /// have its own bound ([`CacheBuilder::stale_while_unavailable`](crate::CacheBuilder::stale_while_unavailable)).
    pub fn stale_while_unavailable(self, bound: Duration) -> ClientBuilder {
        self.set(|config| config.stale_while_unavailable = bound)
    }

    /// How long a read waits for Postgres before it is answered with what is held, where
    /// [`stale_while_unavailable`](ClientBuilder::stale_while_unavailable) allows that. Default 1 s. While Postgres is known to be away
    /// reads do not wait at all, and one of them now and then looks whether it is back.
    pub fn stale_after(self, wait: Duration) -> ClientBuilder {
        self.set(|config| config.stale_after = wait)
    }

    /// How many patches may wait for Postgres. Default 100,000.
    pub fn buffer_entries_max(self, entries: usize) -> ClientBuilder {
        self.set(|config| config.buffer.entries_max = entries)
    }

    /// How many bytes of patches may wait for Postgres. Default 64 MiB, at least 1 KiB.
    pub fn buffer_bytes_max(self, bytes: usize) -> ClientBuilder {
        self.set(|config| config.buffer.bytes_max = bytes)
    }

    /// What a write does when the buffer is full. Default: it waits.
    pub fn when_full(self, when_full: WhenFull) -> ClientBuilder {
        self.set(|config| config.buffer.when_full = when_full)
    }

    /// How long calls wait for a write to get to Postgres: [`Receipt::written`](crate::Receipt::written), [`Client::flush`] and writes with
    /// [`Durability::Database`](crate::Durability). Then they end with an error that says why ([`Error::is_unwritten`]), and the write
    /// stays in the buffer and is tried again. Writes for which the buffer has no room wait as long, then they are refused
    /// ([`Error::is_full`]). So does who would change a row by looking at it while others here do, one after the other
    /// ([`Cache::update`](crate::Cache::update) where memory does not show what they write, [`Cache::modify`](crate::Cache::modify)): nothing is
    /// written then ([`Error::is_unavailable`]).
    ///
    /// Default 60 s. What is longer bounds only how long Postgres may be away or busy: a table that has been refused for 60 s in a way that
    /// lasts until somebody does something about it (a missing right, a renamed column, a trigger that fails) is not waited for any longer.
    pub fn write_timeout(self, timeout: Duration) -> ClientBuilder {
        self.set(|config| config.write_timeout = timeout)
    }

    /// How long a write may wait for others to share its batch. Default 5 ms; zero sends at once.
    pub fn flush_interval(self, interval: Duration) -> ClientBuilder {
        self.set(|config| config.flush_interval = interval)
    }

    /// Patches in one batch. Default 1000, from 1 to 10,000.
    pub fn batch_entries_max(self, entries: usize) -> ClientBuilder {
        self.set(|config| config.batch_entries_max = entries)
    }

    /// How many results of queries are held at most. Default 1,000.
    pub fn query_results_max(self, results: u64) -> ClientBuilder {
        self.set(|config| config.query_results_max = results)
    }

    /// How many bytes the results of queries may take, about: their rows as Postgres sends them. Default 64 MiB. A result that is
    /// larger is not held.
    pub fn query_results_bytes_max(self, bytes: u64) -> ClientBuilder {
        self.set(|config| config.query_results_bytes_max = bytes)
    }

    /// A hot standby of the same server, to load rows from: `dsn` is a connection string of either form. Default: none.
    ///
    /// A load counts only if the standby had replayed every change that this client had heard of, and every batch of its own;
    /// else the primary is asked, as it is while the standby is away. Everything else goes to the primary, queries too.
    /// With [`FeedKind::Notify`](crate::FeedKind) the standby is not used. [`Status`](crate::Status) tells how often it answered.
    pub fn standby(mut self, dsn: &str) -> ClientBuilder {
        let set = |mut config: ClientConfig| config.set_standby(dsn).map(|()| config);
        self.config = self.config.and_then(set);
        self
    }

    /// How often counters and gauges are published to the recorder of the facade `metrics`; what they say is as old at most. Default 5 s, from
    /// 100 ms to an hour. Needs the feature `metrics`.
    #[cfg(feature = "metrics")]
    pub fn metrics_interval(self, interval: Duration) -> ClientBuilder {
        self.set(|config| config.metrics_interval = interval)
    }

    /// For how long [`connect`](ClientBuilder::connect) tries again while Postgres is [unavailable](Error::is_unavailable), as where an application
    /// starts together with its database: at once, and then after pauses that grow from 0.1 s to 2 s. Default zero: it tries once. What does not
    /// pass by itself, such as a wrong password, is an error at once.
    pub fn retry_for(self, time: Duration) -> ClientBuilder {
        self.set(|config| config.retry_for = time)
    }

    /// Connects, and checks that extension and SDK fit together.
    ///
    /// # Errors
    /// [`Error::is_unavailable`] when Postgres cannot be reached, or has no connection left: what can pass. Else the message says that
    /// role, password or database are not right, why there is no TLS and which file is at fault, which setting is out of bounds, which side to upgrade, or that a
    /// pooler is in between that is not in session mode.
    pub async fn connect(self) -> Result<Client, Error> {
        let retry_for = self.config.as_ref().map_or(Duration::ZERO, |config| config.retry_for);
        let client = self.connect_lazy()?;
        let store = &client.shared.store;
        let begun = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            match store.established().await {
                Err(error) if error.is_unavailable() && begun.elapsed() < retry_for => {
                    tracing::warn!(error = %error.logged(), "connecting to Postgres is tried again");
                    tokio::time::sleep(jittered(pause).min(retry_for.saturating_sub(begun.elapsed()))).await;
                    pause = (2 * pause).min(PAUSE_MAX);
                }
                established => return established.map(|()| client),
            }
        }
    }

    /// A client that connects when it is first asked for something: who opens a cache or asks a query hears then what [`connect`](ClientBuilder::connect)
    /// would have said, and may try again. For an application that has to start whether its database is there or not.
    ///
    /// # Errors
    /// The DSN, or a setting, is wrong; or there is no tokio runtime here.
    pub fn connect_lazy(self) -> Result<Client, Error> {
        let mut config = self.config?;
        config.check()?;
        if Handle::try_current().is_err() {
            return Err(Error::new(
                ErrorKind::Config,
                "a client needs a tokio runtime for its tasks; make it inside one",
            ));
        }
        let (database, standby): (Arc<dyn Database>, _) = match self.database {
            Some(database) => (database, None),
            None => {
                let (postgres, standby) = servers(&mut config, self.own_tls.as_ref())?;
                (Arc::new(postgres), standby)
            }
        };
        let store = Store::new(database, config.connect_timeout, config.query_timeout);
        let budget = Budget::new(config.buffer);
        let meter = ClientMeter::new(config.database());
        let common = Common::new(FeedFreshness::new(config.feed_timeout), meter);
        Ok(Client { shared: Shared::begin(config, common, budget, store, standby) })
    }
}

/// The server that takes the writes, and its standby.
fn servers(
    config: &mut ClientConfig,
    own_tls: Option<&Connector>,
) -> Result<(Arc<Postgres>, Option<Arc<Standby>>), Error> {
    let connector_for = |server: &mut Server| {
        let mode = mode_for(server)?;
        Connector::for_server(own_tls, mode, &server.tls)
    };
    let connector = connector_for(&mut config.primary)?;
    let standbys = config.standby.as_mut().map(connector_for).transpose()?;
    prefer_primary(&mut config.primary.postgres);
    share_time(&mut config.primary.postgres, config.connect_timeout);
    let login = Arc::new(Login::new(config));
    let primary = Postgres::new(config, connector, login.clone())?;
    let standby = config.standby.as_ref().zip(standbys.as_ref()).map(|(server, connector)| {
        let endpoint = Endpoint { config, postgres: &server.postgres, connector, login: &login, purpose: "standby" };
        Standby::new(&endpoint, primary.clone()).map(Arc::new)
    });
    Ok((primary, standby.transpose()?))
}
