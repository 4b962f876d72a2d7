//! The settings of a client, and how it connects.

use super::Client;
use super::shared::Shared;
use crate::common::Common;
use crate::common::freshness::Freshness;
use crate::config::{ClientConfig, WhenFull};
use crate::error::Error;
use crate::pg::{Connector, Endpoint, Store};
use crate::read::Standby;
use crate::write::Budget;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, NoTls, TlsConnect};

impl Client {
    /// Connects with default settings.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect(dsn: &str) -> Result<Client, Error> {
        Client::builder(dsn).connect().await
    }

    /// Settings first. `dsn` is a Postgres connection string, of either form.
    pub fn builder(dsn: &str) -> ClientBuilder {
        ClientBuilder { config: ClientConfig::new(dsn), connector: Connector::new(NoTls) }
    }
}

/// Settings of a [`Client`] before it connects.
#[must_use]
pub struct ClientBuilder {
    config: Result<ClientConfig, Error>,
    connector: Connector,
}

impl ClientBuilder {
    fn set(mut self, set: impl FnOnce(&mut ClientConfig)) -> ClientBuilder {
        if let Ok(config) = &mut self.config {
            set(config);
        }
        self
    }

    /// How TLS connections are made. Default: none; a DSN with `sslmode=require` then fails to connect.
    pub fn tls<T>(mut self, tls: T) -> ClientBuilder
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send + Sync + 'static,
        T::TlsConnect: Send + Sync,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        self.connector = Connector::new(tls);
        self
    }

    /// Connections for loads. Default 4, from 1 to 10,000. The feed and the flusher have one more each.
    pub fn pool_size(self, connections: usize) -> ClientBuilder {
        self.set(|config| config.pool_size = connections)
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

    /// For how long entries may be served while Postgres cannot be asked. Default zero: reads fail instead.
    pub fn stale_while_unavailable(self, bound: Duration) -> ClientBuilder {
        self.set(|config| config.stale_while_unavailable = bound)
    }

    /// How many patches may wait for Postgres. Default 100,000.
    pub fn buffer_entries_max(self, entries: usize) -> ClientBuilder {
        self.set(|config| config.buffer_entries_max = entries)
    }

    /// How many bytes of patches may wait for Postgres. Default 64 MiB, at least 1 KiB.
    pub fn buffer_bytes_max(self, bytes: usize) -> ClientBuilder {
        self.set(|config| config.buffer_bytes_max = bytes)
    }

    /// What a write does when the buffer is full. Default: it waits.
    pub fn when_full(self, when_full: WhenFull) -> ClientBuilder {
        self.set(|config| config.when_full = when_full)
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

    /// Connects, and checks that extension and SDK fit together.
    ///
    /// # Errors
    /// [`Error::is_unavailable`] when Postgres cannot be reached; else the message says which setting is out of bounds,
    /// which side to upgrade, or that a pooler is in between that is not in session mode.
    pub async fn connect(self) -> Result<Client, Error> {
        let config = self.config?;
        config.check()?;
        let standby = config.standby.as_ref().map(|postgres| {
            let connector = &self.connector;
            Standby::new(&Endpoint { config: &config, postgres, connector, purpose: "standby" })
        });
        let standby = standby.transpose()?.map(Arc::new);
        let store = Store::new(&config, self.connector)?;
        store.check_sessions().await?;
        store.check_versions().await?;
        let budget = Budget::new(config.buffer_entries_max, config.buffer_bytes_max, config.when_full);
        let common = Common::new(Freshness::new(config.feed_timeout));
        Ok(Client { shared: Shared::begin(config, common, budget, store, standby) })
    }
}
