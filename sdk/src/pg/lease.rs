//! A pool's connections, each lent to one caller at a time.
//!
//! A caller may be given up at any moment, and what he had asked goes on. The next one must not wait behind it: a connection that
//! does not come back idle is closed, and what runs on it cancelled.

use super::connection::Endpoint;
use super::connector::Connector;
use super::lent::{self, Restore};
use super::login::Login;
use super::statements::Statements;
use crate::common::lock::lock;
use crate::error::{Error, ErrorKind, Step};
use deadpool_postgres::{Object, Pool};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;

/// The connections of a pool.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: Pool,
    connector: Connector,
    statements: Arc<Statements>,
    login: Arc<Login>,
    postgres: tokio_postgres::Config,
    renewal: Arc<Renewal>,
    runtime: Handle,
    /// What is set on each that is lent by the application, whose pool it is.
    lent: Option<Arc<str>>,
}

/// When all connections were given up the last time.
#[derive(Debug, Default)]
struct Renewal(Mutex<Option<Instant>>);

impl Renewal {
    /// Whether a connection that somebody began to make at this moment is one of them.
    fn includes(&self, begun: Instant) -> bool {
        lock(&self.0).is_some_and(|at| begun <= at)
    }
}

impl Connections {
    /// Those of a pool that was made of these.
    pub(crate) fn new(pool: Pool, endpoint: &Endpoint<'_>) -> Connections {
        let (connector, login, postgres) =
            (endpoint.connector.clone(), endpoint.login.clone(), endpoint.postgres.clone());
        let (statements, renewal, runtime) = (Arc::default(), Arc::default(), Handle::current());
        Connections { pool, connector, statements, login, postgres, renewal, runtime, lent: None }
    }

    /// Those of a pool that is the application's own.
    pub(crate) fn lent(pool: Pool, endpoint: &Endpoint<'_>) -> Connections {
        Connections { lent: Some(endpoint.settings().into()), ..Connections::new(pool, endpoint) }
    }

    /// One of them.
    pub(super) async fn get(&self, step: Step) -> Result<Lease<'_>, Error> {
        let Some(settings) = &self.lent else { return self.any(step).await };
        for _ in 0..lent::tries(&self.pool) {
            // Given up from here on, it does not return to the pool.
            let mut lease = self.any(step).await?;
            match lent::borrow(&lease, settings).await {
                Ok(Some(restore)) => {
                    lease.restore = Some(restore);
                    return Ok(lease);
                }
                Ok(None) => {
                    tracing::warn!("a connection of the application's pool was left in a transaction; it is closed")
                }
                Err(error) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {}
                Err(error) => return Err(Error::query(step, error)),
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("{step}: the connections of the application's pool are in transactions"),
        ))
    }

    async fn any(&self, step: Step) -> Result<Lease<'_>, Error> {
        let asked = Instant::now();
        let connection = self.pool.get().await;
        let connection = connection.map_err(|error| self.login.no_connection(step, &self.postgres, error))?;
        let metrics = Object::metrics(&connection);
        let begun = if metrics.recycle_count == 0 { asked } else { metrics.created.into() };
        Ok(Lease { connection: Some(connection), connections: self, begun, restore: None })
    }

    /// Gives all of them up: who asks from here on gets a new one.
    pub(super) fn renew(&self) {
        *lock(&self.renewal.0) = Some(Instant::now());
        self.pool.retain(|_, _| false);
    }

    pub(crate) fn close(&self) {
        if self.lent.is_none() {
            self.pool.close();
        }
    }
}

/// A connection while it is in use.
pub(super) struct Lease<'a> {
    connection: Option<Object>,
    connections: &'a Connections,
    /// When somebody began to make it, or later.
    begun: Instant,
    restore: Option<Restore>,
}

impl Lease<'_> {
    /// The statement of this text, prepared once as long as it is used now and then.
    pub(super) async fn prepare(&self, text: &str) -> Result<Statement, tokio_postgres::Error> {
        let statement = self.prepare_cached(text).await?;
        self.connections.statements.note(&self.statement_cache, text);
        Ok(statement)
    }

    /// Gives it back: everything that was asked has been answered.
    pub(super) fn idle(mut self) {
        let Some(connection) = self.connection.take() else { return };
        match self.restore.take() {
            _ if self.connections.renewal.includes(self.begun) => drop(Object::take(connection)),
            Some(restore) => lent::give_back(&self.connections.runtime, connection, restore),
            None => drop(connection),
        }
    }
}

impl Deref for Lease<'_> {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.connection.as_ref().expect("a lease has its connection until it ends")
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Object {
        self.connection.as_mut().expect("a lease has its connection until it ends")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let (token, connector) = (connection.cancel_token(), self.connections.connector.clone());
        // The pool makes another one when it is asked for it.
        drop(Object::take(connection));
        self.connections.runtime.spawn(async move { connector.cancel(token).await });
    }
}
