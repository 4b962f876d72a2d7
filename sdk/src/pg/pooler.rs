//! Whether a connection is one of the server's, or a pooler hands its statements to several.

use super::connection::Endpoint;
use super::connector::CONNECTING;
use super::login::Login;
use crate::error::{Error, ErrorKind, NEEDS_SESSIONS, Step};
use crate::store::within;
use deadpool_postgres::{Object, Pool};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::SimpleQueryMessage;

const STEP: Step = "looking for a pooler";
/// How often the two connections are used by turns: a pooler that has idle connections may give the right one by chance.
const TURNS: usize = 3;

/// The connections that are looked at.
pub(crate) struct SessionCheck {
    pool: Pool,
    login: Arc<Login>,
    postgres: tokio_postgres::Config,
    /// They are used for nothing else, since the pool itself has but one.
    is_apart: bool,
}

impl SessionCheck {
    /// For the connections of a pool that was made of these.
    pub(crate) fn new(pool: &Pool, endpoint: &Endpoint<'_>) -> Result<SessionCheck, Error> {
        let is_apart = endpoint.config.pool_size < 2;
        let pool = if is_apart { endpoint.pool(2)? } else { pool.clone() };
        let (login, postgres) = (endpoint.login.clone(), endpoint.postgres.clone());
        Ok(SessionCheck { pool, login, postgres, is_apart })
    }

    /// Gives two connections a mark each, and looks whether they keep them, also while the other one is in a transaction.
    ///
    /// # Errors
    /// They do not: a pooler in between is not in session mode.
    pub(crate) async fn run(&self, timeout: Duration) -> Result<(), Error> {
        let connect = async || {
            let connection = self.pool.get().await;
            connection.map_err(|error| self.login.no_connection(CONNECTING, &self.postgres, error))
        };
        let connected = within(CONNECTING, timeout, async { Ok([connect().await?, connect().await?]) }).await;
        let checked = match connected {
            Ok(connections) => check(connections, timeout).await,
            Err(error) => Err(error),
        };
        if self.is_apart {
            self.pool.retain(|_, _| false);
        }
        checked
    }
}

/// Two connections that do not go back into the pool unless they are said to be good: they may be in a transaction, in which no load
/// must find itself.
struct Marked(Option<[Object; 2]>);

impl Drop for Marked {
    fn drop(&mut self) {
        self.0.take().into_iter().flatten().for_each(|connection| drop(Object::take(connection)));
    }
}

async fn check(connections: [Object; 2], timeout: Duration) -> Result<(), Error> {
    let mut marked = Marked(Some(connections));
    let Some([one, other]) = &marked.0 else { return Ok(()) };
    are_ones_own(one, other, timeout).await?;
    marked.0 = None;
    Ok(())
}

/// Two connections that are given up if this fails.
pub(super) async fn are_ones_own(one: &Object, other: &Object, timeout: Duration) -> Result<(), Error> {
    let keep = within(STEP, timeout, async {
        keep_their_marks(one, other).await.map_err(|error| match error.code().map(|code| code.code()) {
            // Poolers in statement mode refuse transactions so.
            Some("08P01") => Error::caused(ErrorKind::Config, NEEDS_SESSIONS, error),
            _ => Error::query(STEP, error),
        })
    });
    match keep.await? {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Config, NEEDS_SESSIONS)),
    }
}

async fn keep_their_marks(one: &Object, other: &Object) -> Result<bool, tokio_postgres::Error> {
    for (connection, mark) in [(one, "one"), (other, "other")] {
        connection
            .batch_execute(&format!("SELECT pg_catalog.set_config('cache_sync_sdk.mark', '{mark}', false)"))
            .await?;
    }
    let mut kept = true;
    for _ in 0..TURNS {
        one.batch_execute("BEGIN").await?;
        kept &= mark(one).await?.as_deref() == Some("one");
        kept &= mark(other).await?.as_deref() == Some("other");
        one.batch_execute("COMMIT").await?;
        kept &= mark(other).await?.as_deref() == Some("other");
        kept &= mark(one).await?.as_deref() == Some("one");
    }
    for connection in [one, other] {
        connection.batch_execute("RESET cache_sync_sdk.mark").await?;
    }
    Ok(kept)
}

async fn mark(connection: &Object) -> Result<Option<String>, tokio_postgres::Error> {
    let messages = connection.simple_query("SELECT pg_catalog.current_setting('cache_sync_sdk.mark', true)").await?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
