//! A pool's connections, each lent to one caller at a time.
//!
//! A caller may be given up at any moment, and what he had asked goes on. The next one must not wait behind it: a connection that
//! does not come back idle is closed, and what runs on it cancelled.

use super::connection::Connector;
use super::connection::Endpoint;
use super::login::Login;
use super::statements::Statements;
use crate::error::{Error, Step};
use deadpool_postgres::{Object, Pool};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_postgres::Statement;

/// The connections of a pool.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: Pool,
    connector: Connector,
    statements: Arc<Statements>,
    login: Arc<Login>,
    postgres: tokio_postgres::Config,
    /// Those that were lent before it rose do not come back.
    renewed: Arc<AtomicU64>,
}

impl Connections {
    /// Those of a pool that was made of these.
    pub(crate) fn new(pool: Pool, endpoint: &Endpoint<'_>) -> Connections {
        let (connector, login, postgres) =
            (endpoint.connector.clone(), endpoint.login.clone(), endpoint.postgres.clone());
        Connections { pool, connector, statements: Arc::default(), login, postgres, renewed: Arc::default() }
    }

    /// One of them.
    pub(super) async fn get(&self, step: Step) -> Result<Lease, Error> {
        let of = self.renewed.load(Ordering::Acquire);
        let connection = self.pool.get().await;
        let connection = connection.map_err(|error| self.login.no_connection(step, &self.postgres, error))?;
        let (connector, statements) = (self.connector.clone(), self.statements.clone());
        Ok(Lease { connection: Some(connection), connector, statements, of, renewed: self.renewed.clone() })
    }

    /// Gives all of them up: who asks from here on gets a new one.
    pub(super) fn renew(&self) {
        self.renewed.fetch_add(1, Ordering::AcqRel);
        self.pool.retain(|_, _| false);
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}

/// A connection while it is in use.
pub(super) struct Lease {
    connection: Option<Object>,
    connector: Connector,
    statements: Arc<Statements>,
    of: u64,
    renewed: Arc<AtomicU64>,
}

impl Lease {
    /// The statement of this text, prepared once as long as it is used now and then.
    pub(super) async fn prepare(&self, text: &str) -> Result<Statement, tokio_postgres::Error> {
        let statement = self.prepare_cached(text).await?;
        self.statements.note(&self.statement_cache, text);
        Ok(statement)
    }

    /// Gives it back: everything that was asked has been answered.
    pub(super) fn idle(mut self) {
        if self.of == self.renewed.load(Ordering::Acquire) {
            self.connection = None;
        } else if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

impl Deref for Lease {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.connection.as_ref().expect("a lease has its connection until it ends")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Object {
        self.connection.as_mut().expect("a lease has its connection until it ends")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let (token, connector) = (connection.cancel_token(), self.connector.clone());
        // The pool makes another one when it is asked for it.
        drop(Object::take(connection));
        // Without a runtime nobody is left to be waited for.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { connector.cancel(token).await });
        }
    }
}
