//! Connections of a pool that is the application's own. It uses them for other work, too, so each is set for a statement of ours when it is
//! taken, and set back before it returns.

use deadpool_postgres::{Object, Pool};
use tokio::runtime::Handle;
use tokio_postgres::SimpleQueryMessage;

/// What is set, in the order of [`READ`]'s columns.
const SET: [&str; 3] = ["default_transaction_isolation", "default_transaction_read_only", "statement_timeout"];

/// What it was, and whether the connection is in a transaction: one that is begun by this statement is as old as it is.
const READ: &str = "SELECT pg_catalog.current_setting('default_transaction_isolation'), \
     pg_catalog.current_setting('default_transaction_read_only'), pg_catalog.current_setting('statement_timeout'), \
     pg_catalog.transaction_timestamp() OPERATOR(pg_catalog.=) pg_catalog.statement_timestamp()";

/// What sets a connection back.
pub(super) struct Restore(String);

/// Sets a connection, with these settings. None: it is in a transaction that somebody has left open, in which no load must find itself.
pub(super) async fn borrow(connection: &Object, settings: &str) -> Result<Option<Restore>, tokio_postgres::Error> {
    let messages = connection.simple_query(&format!("{READ}; {settings}")).await?;
    let was = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(was.filter(|was| was.get(3) == Some("t")).map(|was| {
        let set = SET.iter().enumerate().map(|(place, name)| {
            let value = was.get(place).unwrap_or_default().replace('\'', "''");
            format!("SET {name} = '{value}'")
        });
        Restore(set.collect::<Vec<_>>().join("; "))
    }))
}

/// A connection on its way back to its pool. One that could not be set back does not return.
struct Returning(Option<Object>);

impl Drop for Returning {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|connection| drop(Object::take(connection)));
    }
}

/// Sets a connection back, and returns it to its pool.
pub(super) fn give_back(runtime: &Handle, connection: Object, restore: Restore) {
    let mut returning = Returning(Some(connection));
    runtime.spawn(async move {
        let Some(connection) = &returning.0 else { return };
        if connection.batch_execute(&restore.0).await.is_ok() {
            drop(returning.0.take());
        }
    });
}

/// How often a connection is asked for of which the first ones are in transactions: each may be once.
pub(super) fn tries(pool: &Pool) -> usize {
    pool.status().max_size.saturating_add(1)
}
