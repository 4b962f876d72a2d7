//! How connections are made, and what is set on each.

use super::connector::{CONNECTING, Connector, Messages};
use super::encryption::NotOpened;
use super::login::Login;
use crate::config::ClientConfig;
use crate::error::{Error, ErrorKind};
use crate::store::within;
use deadpool_postgres::{Hook, HookError, Pool, QueueMode};
use futures_util::stream::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::TargetSessionAttrs;

/// What is set on the connections of pool and flusher. A load must see everything that was committed before it was sent, and a
/// batch looks at rows again in new snapshots, whatever the role's default isolation is. Set, not given as start-up options,
/// which poolers refuse.
pub(crate) const SESSION: &str = "SET default_transaction_isolation = 'read committed'";

/// What is set on the feed's connection: the timeouts count over the whole CALL, which is meant to last. Not every version knows all
/// of them.
pub(crate) const FEED: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) \
     ANY ('{statement_timeout,idle_in_transaction_session_timeout,transaction_timeout}')";

/// Connects outside a pool. `settings` is what is set first.
pub(super) async fn connect(
    connector: &Connector,
    login: &Login,
    postgres: tokio_postgres::Config,
    timeout: Duration,
    settings: &str,
) -> Result<(tokio_postgres::Client, Messages), Error> {
    within(CONNECTING, timeout, async {
        let ready = login.ready(&postgres).await?;
        let connected = connector.connect(ready).await;
        let (client, mut messages) = connected.map_err(|error| match error {
            NotOpened::Driver(error) => login.not_connected(CONNECTING, &postgres, error),
            NotOpened::Unready(error) => login.unready(CONNECTING, error),
        })?;
        {
            let set = client.batch_execute(settings);
            tokio::pin!(set);
            loop {
                tokio::select! {
                    set = &mut set => break set.map_err(|error| Error::query(CONNECTING, error))?,
                    message = messages.next() => if let Some(Err(error)) = message {
                        return Err(Error::query(CONNECTING, error));
                    },
                }
            }
        }
        Ok((client, messages))
    })
    .await
}

/// Keeps a connection outside a pool going.
pub(super) async fn drive(mut messages: Messages) {
    while let Some(Ok(_)) = messages.next().await {}
}

/// A server, and what its connections are for.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint<'a> {
    pub(crate) config: &'a ClientConfig,
    /// The server, which may be another than the configuration's own.
    pub(crate) postgres: &'a tokio_postgres::Config,
    pub(crate) connector: &'a Connector,
    pub(crate) login: &'a Arc<Login>,
    /// What they are called in `application_name`.
    pub(crate) purpose: &'a str,
}

impl Endpoint<'_> {
    /// What is set on connections for loads. A load that nobody waits for any more must not keep one busy, and nobody writes here, so
    /// that nothing is written by what is taken for a read.
    pub(super) fn settings(&self) -> String {
        let timeout = self.config.query_timeout.as_millis();
        format!("{SESSION}; SET default_transaction_read_only = on; SET statement_timeout = {timeout}")
    }

    /// A pool of connections for loads.
    pub(crate) fn pool(&self, size: usize) -> Result<Pool, Error> {
        let Endpoint { config, postgres, connector, login, purpose } = self;
        let settings: Arc<str> = self.settings().into();
        let set = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let settings = settings.clone();
            Box::pin(async move { client.batch_execute(&settings).await.map_err(HookError::Backend) })
        });
        Pool::builder(connector.manager(named(postgres, purpose), login))
            .max_size(size)
            // The one that was used last: its server process has what it needs at hand.
            .queue_mode(QueueMode::Lifo)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .wait_timeout(Some(config.query_timeout))
            .create_timeout(Some(config.connect_timeout))
            .post_create(set)
            .build()
            .map_err(|error| Error::caused(ErrorKind::Config, "the connection pool cannot be built", error))
    }
}

/// The same server, with the connection's purpose in its name.
pub(super) fn named(config: &tokio_postgres::Config, purpose: &str) -> tokio_postgres::Config {
    let mut config = config.clone();
    let name = config.get_application_name().unwrap_or("cache_sync").to_owned();
    config.application_name(format!("{name} {purpose}"));
    config
}

/// One of several hosts that swallows everything must not take the time in which another could have answered.
pub(crate) fn share_time(postgres: &mut tokio_postgres::Config, timeout: Duration) {
    let hosts = postgres.get_hosts().len().max(postgres.get_hostaddrs().len());
    if hosts > 1 && postgres.get_connect_timeout().is_none() {
        postgres.connect_timeout(timeout / u32::try_from(hosts).unwrap_or(u32::MAX));
    }
}

/// Of several hosts it is the primary that is meant, unless the DSN says otherwise.
pub(crate) fn prefer_primary(postgres: &mut tokio_postgres::Config) {
    let hosts = postgres.get_hosts().len().max(postgres.get_hostaddrs().len());
    if hosts > 1 && postgres.get_target_session_attrs() == TargetSessionAttrs::Any {
        postgres.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}
