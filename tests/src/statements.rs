//! A test's statements, run as psql would run them, but without a program for each of thousands: a connection of their own, and rows
//! and errors in psql's words.

use std::sync::{OnceLock, mpsc};

use cache_sync_kit::connect;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::{DbError, Error};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// Runs `sql`, all of it or up to the first error, in a session of its own, and hands back its rows, unaligned, `|` between columns.
///
/// # Errors
/// The server does not take the connection, or refuses a statement: then what psql says, SQLSTATE included.
pub(crate) fn run(dsn: &str, sql: &str) -> Result<String, String> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    // Tests call this where they may not wait for a future, so another thread does.
    let runtime = RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
    let (answer, answered) = mpsc::sync_channel(1);
    let (dsn, sql) = (dsn.to_owned(), sql.to_owned());
    runtime.spawn(async move {
        // Who asked may have been ended.
        answer.send(rows(&dsn, &sql).await.map_err(|error| said(&error))).is_ok()
    });
    answered.recv().unwrap()
}

async fn rows(dsn: &str, sql: &str) -> Result<String, Error> {
    let client = connect(dsn).await?;
    let messages = client.simple_query(sql).await?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(line(row)),
        _ => None,
    });
    Ok(rows.collect::<Vec<_>>().join("\n").trim_end_matches('\n').to_owned())
}

fn line(row: &SimpleQueryRow) -> String {
    (0..row.len()).map(|column| row.get(column).unwrap_or_default()).collect::<Vec<_>>().join("|")
}

/// What psql says of it if it is to say all it knows.
fn said(error: &Error) -> String {
    let Some(error) = error.as_db_error() else {
        return if error.is_closed() {
            "server closed the connection unexpectedly".to_owned()
        } else {
            format!("{error:?}")
        };
    };
    let first = format!("{}:  {}: {}", error.severity(), error.code().code(), error.message());
    let others = details(error).into_iter().filter_map(|(name, text)| Some(format!("{name}:  {}", text?)));
    std::iter::once(first).chain(others).collect::<Vec<_>>().join("\n")
}

fn details(error: &DbError) -> [(&'static str, Option<&str>); 8] {
    [
        ("DETAIL", error.detail()),
        ("HINT", error.hint()),
        ("CONTEXT", error.where_()),
        ("SCHEMA NAME", error.schema()),
        ("TABLE NAME", error.table()),
        ("COLUMN NAME", error.column()),
        ("DATATYPE NAME", error.datatype()),
        ("CONSTRAINT NAME", error.constraint()),
    ]
}
