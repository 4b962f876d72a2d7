//! The pool of connections, and questions asked over it.

use super::connection::{self, Connector, Endpoint, Messages};
use super::failure::is_plan_outdated;
use super::lease::{Connections, Lease};
use super::load::{self, LoadState, LoadStatement, Loading, Taking};
use super::pooler::SessionCheck;
use super::within::within;
use crate::codec::key::Key;
use crate::config::ClientConfig;
use crate::error::{Error, ErrorKind, Step};
use cache_sync_core::number::{Epoch, Position};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// The connections to the primary.
pub(crate) struct Store {
    pub(super) connections: Connections,
    /// How many queries of the user's may run at once: one connection is left for rows, however slow they are.
    pub(super) queries: Semaphore,
    connector: Connector,
    postgres: tokio_postgres::Config,
    sessions: SessionCheck,
    connect_timeout: Duration,
    pub(super) query_timeout: Duration,
}

impl Store {
    pub(crate) fn new(config: &ClientConfig, connector: Connector) -> Result<Store, Error> {
        let postgres = config.postgres.clone();
        let endpoint = Endpoint { config, postgres: &postgres, connector: &connector, purpose: "pool" };
        let pool = endpoint.pool(config.pool_size)?;
        Ok(Store {
            sessions: SessionCheck::new(&pool, &endpoint)?,
            connections: Connections::new(pool, connector.clone()),
            queries: Semaphore::new((config.pool_size - 1).max(1)),
            connector,
            postgres,
            connect_timeout: config.connect_timeout,
            query_timeout: config.query_timeout,
        })
    }

    /// Connects outside the pool. `settings` is what is set first.
    pub(crate) async fn connect(
        &self,
        purpose: &str,
        settings: &str,
    ) -> Result<(tokio_postgres::Client, Messages), Error> {
        let postgres = connection::named(&self.postgres, purpose);
        connection::connect(&self.connector, postgres, self.connect_timeout, settings).await
    }

    /// Checks that each connection of the pool is one of the server's.
    pub(crate) async fn check_sessions(&self) -> Result<(), Error> {
        self.sessions.run(self.connect_timeout).await
    }

    /// The head of the feed as the pool's server tells it.
    pub(crate) async fn feed_head(&self) -> Result<(Epoch, Position), Error> {
        let rows = self
            .query("reading the feed's head", "SELECT epoch, feed_position FROM cache_sync.feed_head()", &[])
            .await?;
        let (epoch, position): (i64, i64) = (rows[0].get(0), rows[0].get(1));
        Ok((Epoch(epoch as u64), Position(position as u64)))
    }

    /// Loads rows by key, in one autocommitted statement.
    pub(crate) async fn load<K: Key, T>(
        &self,
        statement: &LoadStatement,
        loading: &Loading<'_, K>,
        taking: Taking<impl FnMut(Option<Row>, LoadState) -> Option<T>, impl FnMut(&T, &Row)>,
    ) -> Result<Option<T>, Error> {
        within(load::STEP, self.query_timeout, loading.run(&self.connections, statement, None, taking)).await
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

    pub(crate) fn close(&self) {
        self.connections.close();
    }
}

async fn ask(client: &Lease, text: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, tokio_postgres::Error> {
    let statement = client.prepare(text).await?;
    match client.query(&statement, params).await {
        Err(error) if is_plan_outdated(&error) => {
            client.statement_cache.clear();
            client.query(&client.prepare(text).await?, params).await
        }
        answer => answer,
    }
}
