//! A pool's connections, each lent to one caller at a time.
//!
//! A caller may be given up at any moment, and what he had asked goes on. The next one must not wait behind it: a connection that
//! does not come back idle is closed, and what runs on it cancelled.

use super::connection::Endpoint;
use super::connector::Connector;
use super::login::Login;
use super::statements::Statements;
use crate::common::lock::lock;
use crate::error::{Error, Step};
use deadpool_postgres::{Object, Pool};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_postgres::Statement;

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
        Connections { pool, connector, statements, login, postgres, renewal, runtime }
    }

    /// One of them.
    pub(super) async fn get(&self, step: Step) -> Result<Lease<'_>, Error> {
        let asked = Instant::now();
        let connection = self.pool.get().await;
        let connection = connection.map_err(|error| self.login.no_connection(step, &self.postgres, error))?;
        let metrics = Object::metrics(&connection);
        let begun = if metrics.recycle_count == 0 { asked } else { metrics.created.into() };
        Ok(Lease { connection: Some(connection), connections: self, begun })
    }

    /// Gives all of them up: who asks from here on gets a new one.
    pub(super) fn renew(&self) {
        *lock(&self.renewal.0) = Some(Instant::now());
        self.pool.retain(|_, _| false);
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}

/// A connection while it is in use.
pub(super) struct Lease<'a> {
    connection: Option<Object>,
    connections: &'a Connections,
    /// When somebody began to make it, or later.
    begun: Instant,
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
        if !self.connections.renewal.includes(self.begun) {
            self.connection = None;
        } else if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
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
