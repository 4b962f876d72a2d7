//! Connections of a pool that is the application's own. It uses them for other work, too, so each is set for a statement of ours when it is
//! taken, and set back before it returns.

use crate::error::{Error, ErrorKind, Step};
use deadpool_postgres::{Object, Pool};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

/// What is set, in the order of [`READ`]'s columns.
const SET: [&str; 3] = ["default_transaction_isolation", "default_transaction_read_only", "statement_timeout"];

/// What decides which rows a statement shows, and how, and which tables it means. What is read is held for everybody, so it must be the
/// same on all connections.
pub(super) const CHARACTER: &str = "pg_catalog.concat('role ', current_user, \
     ', search_path ', pg_catalog.current_setting('search_path'), ', row_security ', pg_catalog.current_setting('row_security'), \
     ', DateStyle ', pg_catalog.current_setting('DateStyle'), ', IntervalStyle ', pg_catalog.current_setting('IntervalStyle'), \
     ', TimeZone ', pg_catalog.current_setting('TimeZone'), ', lc_monetary ', pg_catalog.current_setting('lc_monetary'), \
     ', bytea_output ', pg_catalog.current_setting('bytea_output'), \
     ', extra_float_digits ', pg_catalog.current_setting('extra_float_digits'))";

/// What it was, and whether the connection is in a transaction: one that is begun by this statement is as old as it is.
const READ: &str = "SELECT pg_catalog.current_setting('default_transaction_isolation'), \
     pg_catalog.current_setting('default_transaction_read_only'), pg_catalog.current_setting('statement_timeout'), \
     pg_catalog.transaction_timestamp() OPERATOR(pg_catalog.=) pg_catalog.statement_timestamp()";

/// What is asked of connections that an application lends.
#[derive(Clone)]
pub(super) struct Terms {
    /// What is set on each.
    pub(super) settings: Arc<str>,
    /// The [`CHARACTER`] of those that the client makes itself; known once it was looked at.
    pub(super) character: Arc<OnceLock<String>>,
    /// How long one is waited for.
    pub(super) wait_max: Duration,
}

/// What sets a connection back.
pub(super) struct Restore(String);

/// Why a connection is of no use.
pub(super) enum Unfit {
    /// Somebody has left a transaction open, in which no load must find itself.
    InTransaction,
    /// It is not as those that the client makes; this is how it is.
    Otherwise(String),
}

/// Sets a connection.
pub(super) async fn borrow(
    connection: &Object,
    terms: &Terms,
) -> Result<Result<Restore, Unfit>, tokio_postgres::Error> {
    let text = format!("{READ}, {CHARACTER}; {}", terms.settings);
    let messages = match connection.simple_query(&text).await {
        Err(error) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {
            return Ok(Err(Unfit::InTransaction));
        }
        messages => messages?,
    };
    let was = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let Some(was) = was.filter(|was| was.get(SET.len()) == Some("t")) else { return Ok(Err(Unfit::InTransaction)) };
    let character = was.get(SET.len() + 1).unwrap_or_default();
    if terms.character.get().is_none_or(|expected| expected != character) {
        return Ok(Err(Unfit::Otherwise(character.to_owned())));
    }
    let set = SET.iter().enumerate().map(|(place, name)| {
        let value = was.get(place).unwrap_or_default().replace('\'', "''");
        format!("SET {name} = '{value}'")
    });
    Ok(Ok(Restore(set.collect::<Vec<_>>().join("; "))))
}

impl Unfit {
    /// What callers hear if there are no others.
    pub(super) fn error(self, step: Step, terms: &Terms) -> Error {
        match self {
            Unfit::InTransaction => Error::new(
                ErrorKind::Unavailable,
                format!("{step}: the connections of the application's pool are in transactions"),
            ),
            Unfit::Otherwise(character) => {
                let expected = terms.character.get().map_or("", String::as_str);
                let message = format!(
                    "{step}: the connections of the application's pool are not as those of the DSN: {character}, in place of {expected}"
                );
                Error::new(ErrorKind::Config, message)
            }
        }
    }
}

/// A connection on its way back to its pool. One that could not be set back does not return.
struct Returning(Option<Object>);

impl Drop for Returning {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|connection| drop(Object::take(connection)));
    }
}

/// Sets a connection back, and returns it to its pool. It ends with the runtime, or when that takes too long.
pub(super) fn give_back(runtime: &Handle, connection: Object, restore: Restore, wait_max: Duration) {
    let mut returning = Returning(Some(connection));
    runtime.spawn(async move {
        let Some(connection) = &returning.0 else { return };
        let set = tokio::time::timeout(wait_max, connection.batch_execute(&restore.0)).await;
        if matches!(set, Ok(Ok(()))) {
            drop(returning.0.take());
        }
    });
}

/// How often a connection is asked for of which the first ones are of no use: each may be once.
pub(super) fn tries(pool: &Pool) -> usize {
    pool.status().max_size.saturating_add(1)
}
