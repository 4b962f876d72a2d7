//! Queries of the user's.

use super::failure::is_plan_outdated;
use super::lease::Lease;
use super::postgres::Postgres;
use crate::codec::layout::Layout;
use crate::codec::row::Columns;
use crate::error::{Error, ErrorKind, Step, root_cause};
use crate::store::{NextExpiry, Selected, Selecting};
use cache_sync_core::number::Epoch;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

const STEP: Step = "running a query";

impl Postgres {
    /// What the extension says that a query reads.
    pub(super) async fn what_it_reads(&self, sql: &str) -> Result<String, Error> {
        let text = "SELECT cache_sync.dependencies($1)::pg_catalog.text";
        let rows = self.query("asking what a query reads", text, &[&sql]).await?;
        rows[0].try_get(0).map_err(|error| Error::query(STEP, error))
    }

    /// Runs a query of the user's in one autocommitted statement. The epoch is that of the server that ran it: it is asked over
    /// the same connection, ahead of the query and without waiting for the answer. So is when rows expire that may matter.
    /// Each row is read as it comes.
    pub(super) async fn run(&self, selecting: Selecting<'_>) -> Result<Selected, Error> {
        // Closed with the client, at the latest.
        let _turn = self.queries.acquire().await.map_err(|_| Error::closed())?;
        let client = self.connections.get(STEP).await?;
        let selected = run(&client, selecting).await;
        client.idle();
        selected
    }
}

async fn run(client: &Lease<'_>, selecting: Selecting<'_>) -> Result<Selected, Error> {
    let Selecting { sql, params, expiries, read } = selecting;
    let ask_epoch = client.prepare("SELECT cache_sync.epoch()").await.map_err(failed)?;
    for last_try in [false, true] {
        let mut statement = client.prepare(sql).await.map_err(failed)?;
        let layout = Layout::of_statement(statement.columns());
        check_count(statement.params().len(), params.len())?;
        if !layout.is_binary() {
            let text = format!("SELECT {} FROM ({sql}) AS q", layout.select_list("q"));
            statement = client.prepare(&text).await.map_err(failed)?;
        }
        let mut is_any_shown = false;
        let mut show = |row: &dyn Columns| {
            is_any_shown = true;
            read(&layout, row)
        };
        let (epoch, good_for, rows) = tokio::join!(
            client.query_one(&ask_epoch, &[]),
            join_all(expiries.iter().map(|expiry| next_expiry(expiry, client))),
            all_rows(client, &statement, params, &mut show)
        );
        match rows {
            // Not where rows of this try have been taken already.
            Err(error) if !last_try && !is_any_shown && is_plan_outdated(&error) => {
                client.statement_cache.clear();
            }
            rows => {
                let epoch: i64 = epoch.map_err(failed)?.get(0);
                let AllRows { are_read, bytes, digest } = rows.map_err(refused)?;
                let good_for =
                    good_for.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?.into_iter().flatten().min();
                let good_for = good_for.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs()));
                are_read?;
                return Ok(Selected { epoch: Epoch(epoch as u64), bytes, digest, good_for });
            }
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "running a query: its tables change too often"))
}

/// When the next row expires, in microseconds.
async fn next_expiry(expiry: &NextExpiry, client: &Lease<'_>) -> Result<Option<i64>, tokio_postgres::Error> {
    let statement = client.prepare(&expiry.text).await?;
    let value = expiry.value.as_deref().map(|value| value as &(dyn ToSql + Sync));
    client.query_one(&statement, value.as_slice()).await?.try_get(0)
}

struct AllRows {
    /// Or why one of them cannot be read.
    are_read: Result<(), Error>,
    bytes: usize,
    digest: u64,
}

/// The rows. Where one of them cannot be read, the others are taken from the connection all the same, but not kept.
async fn all_rows(
    client: &Lease<'_>,
    statement: &Statement,
    params: &[&(dyn ToSql + Sync)],
    mut read: impl FnMut(&dyn Columns) -> Result<(), Error>,
) -> Result<AllRows, tokio_postgres::Error> {
    let mut stream = Box::pin(client.query_raw(statement, params.iter().copied()).await?);
    let (mut are_read, mut bytes, mut digest) = (Ok(()), 0, DefaultHasher::new());
    while let Some(row) = stream.try_next().await? {
        bytes += row.size();
        row.digest(0, &mut digest);
        if are_read.is_ok() {
            are_read = read(&row);
        }
    }
    Ok(AllRows { are_read, bytes, digest: digest.finish() })
}

fn check_count(takes: usize, bound: usize) -> Result<(), Error> {
    if takes == bound {
        return Ok(());
    }
    let message = format!("the query takes {takes} parameters, but {bound} are bound");
    Err(Error::new(ErrorKind::Config, message))
}

fn failed(error: tokio_postgres::Error) -> Error {
    Error::query(STEP, error)
}

fn refused(error: tokio_postgres::Error) -> Error {
    match is_parameter(&error) {
        true => {
            let why = root_cause(&error);
            let message = format!("a parameter is not of the type that the query takes: {error}: {why}");
            Error::caused(ErrorKind::Value, message, error)
        }
        false => failed(error),
    }
}

/// Whether it is a parameter that could not be sent: neither the server nor the connection failed.
fn is_parameter(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    error.as_db_error().is_none() && !error.is_closed() && source.is_some_and(|source| !source.is::<std::io::Error>())
}
