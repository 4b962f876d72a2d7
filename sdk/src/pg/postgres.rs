//! A Postgres with the extension: the pool of connections, and questions asked over it.

use super::connection::{self, Endpoint};
use super::connector::{Connector, Messages};
use super::doubt::Doubt;
use super::failure::is_plan_outdated;
use super::lease::{Connections, Lease};
use super::login::Login;
use super::pooler::SessionCheck;
use crate::config::ClientConfig;
use crate::error::{Error, ErrorKind, Step};
use crate::store::within;
use cache_sync_core::number::{Epoch, Position};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// The connections to the primary.
pub(crate) struct Postgres {
    pub(super) connections: Connections,
    /// How many queries of the user's may run at once: one connection is left for rows, however slow they are.
    pub(super) queries: Semaphore,
    connector: Connector,
    login: Arc<Login>,
    postgres: tokio_postgres::Config,
    /// None for a pool of the application's, which is looked at otherwise.
    sessions: Option<SessionCheck>,
    established: OnceLock<()>,
    /// When the last check has failed, and why. One checks at a time.
    last_failure: AsyncMutex<Option<(Instant, Error)>>,
    /// Whether the server is still the one to talk to.
    doubt: Doubt,
    pub(crate) connect_timeout: Duration,
    pub(crate) query_timeout: Duration,
}

impl Postgres {
    pub(crate) fn new(config: &ClientConfig, connector: Connector, login: Arc<Login>) -> Result<Arc<Postgres>, Error> {
        let postgres = config.primary.postgres.clone();
        let endpoint = Endpoint { config, postgres: &postgres, connector: &connector, login: &login, purpose: "pool" };
        let (pool, connections) = match &config.pool {
            Some(pool) if pool.status().max_size < 2 => {
                let message = "the application's pool must have two connections at least";
                return Err(Error::new(ErrorKind::Config, message));
            }
            Some(pool) => (pool.clone(), Connections::lent(pool.clone(), &endpoint)),
            None => {
                let pool = endpoint.pool(config.pool_size)?;
                (pool.clone(), Connections::new(pool, &endpoint))
            }
        };
        Ok(Arc::new(Postgres {
            sessions: config.pool.is_none().then(|| SessionCheck::new(&pool, &endpoint)).transpose()?,
            connections,
            established: OnceLock::new(),
            last_failure: AsyncMutex::default(),
            doubt: Doubt::default(),
            queries: Semaphore::new(pool.status().max_size.saturating_sub(1).max(1)),
            connector,
            login,
            postgres,
            connect_timeout: config.connect_timeout,
            query_timeout: config.query_timeout,
        }))
    }

    /// Connects outside the pool. `settings` is what is set first.
    pub(crate) async fn connect(
        &self,
        purpose: &str,
        settings: &str,
    ) -> Result<(tokio_postgres::Client, Messages), Error> {
        let postgres = connection::named(&self.postgres, purpose);
        connection::connect(&self.connector, &self.login, postgres, self.connect_timeout, settings).await
    }

    /// Somebody has shown that the server may not be the one to talk to: all connections to it are given up, and made anew to the one
    /// that the DSN means now. Not more often than makes sense, for it may be the only one.
    pub(crate) fn doubt_server(&self) {
        if self.doubt.raise() {
            tracing::warn!("the server may not be the primary any more; connecting anew");
            self.connections.renew();
        }
    }

    /// Changes with each doubt of the server.
    pub(crate) fn doubts(&self) -> watch::Receiver<u64> {
        self.doubt.subscribe()
    }

    /// The same, once: whoever asks for something first does so, for all who wait meanwhile. If it fails they are told the same, and do not try
    /// one after the other.
    pub(super) async fn checked(&self) -> Result<(), Error> {
        if self.established.get().is_some() {
            return Ok(());
        }
        let asked = Instant::now();
        let mut last_failure = self.last_failure.lock().await;
        if self.established.get().is_some() {
            return Ok(());
        }
        if let Some((_, error)) = last_failure.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(error.clone());
        }
        let checked = self.check().await;
        match &checked {
            Ok(()) => drop(self.established.set(())),
            Err(error) => *last_failure = Some((Instant::now(), error.clone())),
        }
        checked
    }

    /// Checks that the server is one to work with: that each connection of the pool is its own, and the extension fits.
    async fn check(&self) -> Result<(), Error> {
        match (&self.sessions, self.connections.character()) {
            (Some(sessions), _) => sessions.run(self.connect_timeout).await?,
            (None, Some(character)) => self.check_lent(character).await?,
            (None, None) => {}
        }
        self.check_versions().await?;
        self.login.established();
        Ok(())
    }

    /// How far the feed is.
    pub(super) async fn feed_position(&self) -> Result<(Epoch, Position), Error> {
        let text = "SELECT epoch, feed_position FROM cache_sync.feed_head()";
        let row = self.query_one("reading the feed's head", text).await?;
        let (epoch, position): (i64, i64) = (row.get(0), row.get(1));
        Ok((Epoch(epoch as u64), Position(position as u64)))
    }

    /// Asks for one row.
    pub(super) async fn query_one(&self, step: Step, text: &str) -> Result<Row, Error> {
        let rows = self.query(step, text, &[]).await?;
        rows.into_iter().next().ok_or_else(|| Error::new(ErrorKind::Mismatch, format!("{step}: no answer")))
    }

    pub(super) async fn query(
        &self,
        step: Step,
        text: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        within(step, self.query_timeout, async {
            let client = self.connections.get(step).await?;
            let answer = ask(&client, text, params).await;
            client.idle();
            answer.map_err(|error| Error::query(step, error))
        })
        .await
    }
}

async fn ask(
    client: &Lease<'_>,
    text: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let statement = client.prepare(text).await?;
    match client.query(&statement, params).await {
        Err(error) if is_plan_outdated(&error) => {
            client.statement_cache.clear();
            client.query(&client.prepare(text).await?, params).await
        }
        answer => answer,
    }
}
