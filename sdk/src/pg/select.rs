//! Queries of the user's.

use super::failure::{is_plan_outdated, no_connection};
use super::store::Store;
use super::within::within;
use crate::codec::layout::Layout;
use crate::error::{Error, ErrorKind, Step};
use cache_sync_core::number::Epoch;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

const STEP: Step = "running a query";

/// What a query brought.
pub(crate) struct Selected {
    /// That of the server that ran it.
    pub(crate) epoch: Epoch,
    /// The columns of the rows.
    pub(crate) layout: Layout,
    pub(crate) rows: Vec<Row>,
}

impl Store {
    /// Runs a query of the user's in one autocommitted statement. The epoch is that of the server that ran it: it is asked over
    /// the same connection, ahead of the query and without waiting for the answer.
    pub(crate) async fn select(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Selected, Error> {
        within(STEP, self.query_timeout, async {
            let client = self.pool.get().await.map_err(|error| no_connection(STEP, error))?;
            let ask_epoch = client.prepare_cached("SELECT cache_sync.epoch()").await.map_err(failed)?;
            for last_try in [false, true] {
                let mut statement = client.prepare_cached(sql).await.map_err(failed)?;
                let layout = Layout::of_statement(statement.columns());
                check_count(statement.params().len(), params.len())?;
                if !layout.is_binary() {
                    let text = format!("SELECT {} FROM ({sql}) AS q", layout.select_list("q"));
                    statement = client.prepare_cached(&text).await.map_err(failed)?;
                }
                let (epoch, rows) = tokio::join!(client.query_one(&ask_epoch, &[]), client.query(&statement, params));
                match rows {
                    Err(error) if !last_try && is_plan_outdated(&error) => {
                        client.statement_cache.clear();
                    }
                    rows => {
                        let epoch: i64 = epoch.map_err(failed)?.get(0);
                        let rows = rows.map_err(refused)?;
                        return Ok(Selected { epoch: Epoch(epoch as u64), layout, rows });
                    }
                }
            }
            Err(Error::new(ErrorKind::Unavailable, "running a query: its tables change too often"))
        })
        .await
    }
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
        true => Error::caused(ErrorKind::Value, "a parameter is not of the type that the query takes", error),
        false => failed(error),
    }
}

/// Whether it is a parameter that could not be sent: neither the server nor the connection failed.
fn is_parameter(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    error.as_db_error().is_none() && !error.is_closed() && source.is_some_and(|source| !source.is::<std::io::Error>())
}
