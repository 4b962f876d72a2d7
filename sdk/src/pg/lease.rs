//! A pool's connections, each lent to one caller at a time.
//!
//! A caller may be given up at any moment, and what he had asked goes on. The next one must not wait behind it: a connection that
//! does not come back idle is closed, and what runs on it cancelled.

use super::connection::Connector;
use super::failure::no_connection;
use crate::error::{Error, Step};
use deadpool_postgres::{Object, Pool};
use std::ops::{Deref, DerefMut};

/// The connections of a pool.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: Pool,
    connector: Connector,
}

impl Connections {
    pub(crate) fn new(pool: Pool, connector: Connector) -> Connections {
        Connections { pool, connector }
    }

    /// One of them.
    pub(super) async fn get(&self, step: Step) -> Result<Lease, Error> {
        let connection = self.pool.get().await.map_err(|error| no_connection(step, error))?;
        Ok(Lease { connection: Some(connection), connector: self.connector.clone() })
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}

/// A connection while it is in use.
pub(super) struct Lease {
    connection: Option<Object>,
    connector: Connector,
}

impl Lease {
    /// Gives it back: everything that was asked has been answered.
    pub(super) fn idle(mut self) {
        self.connection = None;
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
