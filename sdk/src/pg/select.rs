//! Queries of the user's.

use super::failure::is_plan_outdated;
use super::lease::Lease;
use super::store::Store;
use super::within::within;
use crate::codec::layout::{Layout, TableMeta, quote};
use crate::codec::row;
use crate::error::{Error, ErrorKind, Step, root_cause};
use cache_sync_core::number::Epoch;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

const STEP: Step = "running a query";

/// What a query brought.
pub(crate) struct Selected<T> {
    /// That of the server that ran it.
    pub(crate) epoch: Epoch,
    pub(crate) rows: Vec<T>,
    /// How many bytes the rows had as they came.
    pub(crate) bytes: usize,
    /// Of what they say: two results with the same one are the same.
    pub(crate) digest: u64,
    /// For how long the result is good, counted from before it was asked for: until the first row expires that may matter to it.
    pub(crate) good_for: Option<Duration>,
}

/// Asks when the next row expires of those that may matter to a result.
#[derive(Debug)]
pub(crate) struct NextExpiry {
    /// Answers with the time in microseconds; takes the value, if there is one.
    pub(crate) text: String,
    pub(crate) value: Option<Box<dyn ToSql + Send + Sync>>,
}

impl NextExpiry {
    /// `is_it` says which rows matter, `$1` in it is the value.
    pub(crate) fn new(
        meta: &TableMeta,
        is_it: Option<&str>,
        value: Option<Box<dyn ToSql + Send + Sync>>,
    ) -> Option<NextExpiry> {
        let column = meta.expires.as_ref()?;
        let text = format!(
            "SELECT (EXTRACT(EPOCH FROM pg_catalog.min(t.{column}) OPERATOR(pg_catalog.-) pg_catalog.now()) \
             OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 FROM {schema}.{table} AS t \
             WHERE t.{column} OPERATOR(pg_catalog.>) pg_catalog.now() AND pg_catalog.isfinite(t.{column}) AND {is_it}",
            schema = quote(&meta.schema),
            table = quote(&meta.name),
            is_it = is_it.unwrap_or("true"),
        );
        Some(NextExpiry { text, value })
    }

    async fn ask(&self, client: &Lease<'_>) -> Result<Option<i64>, tokio_postgres::Error> {
        let statement = client.prepare(&self.text).await?;
        let value = self.value.as_deref().map(|value| value as &(dyn ToSql + Sync));
        client.query_one(&statement, value.as_slice()).await?.try_get(0)
    }
}

impl Store {
    /// What the extension says that a query reads.
    pub(crate) async fn dependencies(&self, sql: &str) -> Result<String, Error> {
        self.established().await?;
        let text = "SELECT cache_sync.dependencies($1)::pg_catalog.text";
        let rows = self.query("asking what a query reads", text, &[&sql]).await?;
        rows[0].try_get(0).map_err(|error| Error::query(STEP, error))
    }

    /// Runs a query of the user's in one autocommitted statement. The epoch is that of the server that ran it: it is asked over
    /// the same connection, ahead of the query and without waiting for the answer. So is when rows expire that may matter.
    /// Each row is read as it comes.
    pub(crate) async fn select<T>(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
        expiries: &[NextExpiry],
        read: impl FnMut(&Layout, &Row) -> Result<T, Error>,
    ) -> Result<Selected<T>, Error> {
        self.established().await?;
        let selected = within(STEP, self.query_timeout, async {
            // Closed with the client, at the latest.
            let _turn = self.queries.acquire().await.map_err(|_| Error::closed())?;
            let client = self.connections.get(STEP).await?;
            let selected = run(&client, sql, params, expiries, read).await;
            client.idle();
            selected
        });
        let asked = Instant::now();
        let selected = selected.await;
        self.heard(&selected, asked);
        selected
    }
}

async fn run<T>(
    client: &Lease<'_>,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
    expiries: &[NextExpiry],
    mut read: impl FnMut(&Layout, &Row) -> Result<T, Error>,
) -> Result<Selected<T>, Error> {
    let ask_epoch = client.prepare("SELECT cache_sync.epoch()").await.map_err(failed)?;
    for last_try in [false, true] {
        let mut statement = client.prepare(sql).await.map_err(failed)?;
        let layout = Layout::of_statement(statement.columns());
        check_count(statement.params().len(), params.len())?;
        if !layout.is_binary() {
            let text = format!("SELECT {} FROM ({sql}) AS q", layout.select_list("q"));
            statement = client.prepare(&text).await.map_err(failed)?;
        }
        let (epoch, good_for, rows) = tokio::join!(
            client.query_one(&ask_epoch, &[]),
            join_all(expiries.iter().map(|expiry| expiry.ask(client))),
            all_rows(client, &statement, params, |row| read(&layout, row))
        );
        match rows {
            Err(error) if !last_try && is_plan_outdated(&error) => {
                client.statement_cache.clear();
            }
            rows => {
                let epoch: i64 = epoch.map_err(failed)?.get(0);
                let AllRows { rows, bytes, digest } = rows.map_err(refused)?;
                let good_for =
                    good_for.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?.into_iter().flatten().min();
                let good_for = good_for.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs()));
                return Ok(Selected { epoch: Epoch(epoch as u64), rows: rows?, bytes, digest, good_for });
            }
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "running a query: its tables change too often"))
}

struct AllRows<T> {
    /// Or why one of them cannot be read.
    rows: Result<Vec<T>, Error>,
    bytes: usize,
    digest: u64,
}

/// The rows. Where one of them cannot be read, the others are taken from the connection all the same, but not kept.
async fn all_rows<T>(
    client: &Lease<'_>,
    statement: &Statement,
    params: &[&(dyn ToSql + Sync)],
    mut read: impl FnMut(&Row) -> Result<T, Error>,
) -> Result<AllRows<T>, tokio_postgres::Error> {
    let mut stream = Box::pin(client.query_raw(statement, params.iter().copied()).await?);
    let (mut rows, mut bytes, mut digest) = (Ok(Vec::new()), 0, DefaultHasher::new());
    while let Some(row) = stream.try_next().await? {
        bytes += row.raw_size_bytes();
        row::digest(&row, 0, &mut digest);
        if let Ok(read_so_far) = &mut rows {
            match read(&row) {
                Ok(row) => read_so_far.push(row),
                Err(error) => rows = Err(error),
            }
        }
    }
    Ok(AllRows { rows, bytes, digest: digest.finish() })
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
