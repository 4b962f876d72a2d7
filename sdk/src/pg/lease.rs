//! A pool's connections, each lent to one caller at a time.
//!
//! A caller may be given up at any moment, and what he had asked goes on. The next one must not wait behind it: a connection that
//! does not come back idle is closed, and what runs on it cancelled.

use super::connection::Endpoint;
use super::connector::Connector;
use super::lent::{self, Restore, Terms, Unfit};
use super::login::Login;
use super::statements::Statements;
use crate::common::lock::lock;
use crate::error::{Error, ErrorKind, Step};
use deadpool_postgres::{Object, Pool, PoolError, TimeoutType};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
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
    /// The pool is the application's own.
    lent: Option<Terms>,
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
        let (settings, wait_max) = (endpoint.settings().into(), endpoint.config.query_timeout / 2);
        let terms = Terms { settings, character: Arc::default(), wait_max };
        Connections { lent: Some(terms), ..Connections::new(pool, endpoint) }
    }

    /// If they are the application's: how they have to be, once that is known.
    pub(super) fn character(&self) -> Option<&OnceLock<String>> {
        self.lent.as_ref().map(|terms| &*terms.character)
    }

    /// One of them.
    pub(super) async fn get(&self, step: Step) -> Result<Lease<'_>, Error> {
        let Some(terms) = &self.lent else { return self.any(step).await };
        let mut unfit = Unfit::InTransaction;
        for _ in 0..lent::tries(&self.pool) {
            // From here on it does not return to the pool but by `idle`.
            let mut lease = self.any(step).await?;
            if self.renewal.includes(lease.begun) {
                lease.close();
                continue;
            }
            match lent::borrow(&lease, terms).await {
                Ok(Ok(restore)) => {
                    lease.restore = Some(restore);
                    return Ok(lease);
                }
                Ok(Err(why)) => {
                    tracing::warn!(
                        "a connection of the application's pool was left in a transaction, or is set otherwise; it is closed"
                    );
                    unfit = why;
                    lease.close();
                }
                Err(error) => return Err(Error::query(step, error)),
            }
        }
        Err(unfit.error(step, terms))
    }

    async fn any(&self, step: Step) -> Result<Lease<'_>, Error> {
        let asked = Instant::now();
        let connection = match &self.lent {
            Some(terms) => self.become_free(step, terms).await?,
            None => {
                let connection = self.pool.get().await;
                connection.map_err(|error| self.login.no_connection(step, &self.postgres, error))?
            }
        };
        let metrics = Object::metrics(&connection);
        let begun = if metrics.recycle_count == 0 { asked } else { metrics.created.into() };
        Ok(Lease { connection: Some(connection), connections: self, begun, restore: None })
    }

    /// One of the application's. That it has none left says nothing of Postgres.
    async fn become_free(&self, step: Step, terms: &Terms) -> Result<Object, Error> {
        let busy = || {
            let message = format!("{step}: no connection of the application's pool became free in time");
            Error::new(ErrorKind::Overloaded, message)
        };
        let over = {
            let _here = self.runtime.enter();
            tokio::time::sleep(terms.wait_max)
        };
        tokio::select! {
            biased;
            connection = self.pool.get() => connection.map_err(|error| match error {
                PoolError::Timeout(TimeoutType::Wait) => busy(),
                PoolError::Closed => {
                    Error::new(ErrorKind::Config, format!("{step}: the application has closed its pool"))
                }
                error => self.login.no_connection(step, &self.postgres, error),
            }),
            () = over => Err(busy()),
        }
    }

    /// Gives all of them up: who asks from here on gets a new one.
    pub(super) fn renew(&self) {
        *lock(&self.renewal.0) = Some(Instant::now());
        // The application's own are given up as they are taken.
        if self.lent.is_none() {
            self.pool.retain(|_, _| false);
        }
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

    /// Closes it: nothing runs on it that would have to be cancelled.
    fn close(mut self) {
        self.connection.take().into_iter().for_each(|connection| drop(Object::take(connection)));
    }

    /// Gives it back: everything that was asked has been answered.
    pub(super) fn idle(mut self) {
        let Some(connection) = self.connection.take() else { return };
        match self.restore.take() {
            _ if self.connections.renewal.includes(self.begun) => drop(Object::take(connection)),
            Some(restore) => {
                let wait_max = self.connections.lent.as_ref().map_or(Duration::MAX, |terms| terms.wait_max);
                lent::give_back(&self.connections.runtime, connection, restore, wait_max);
            }
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
