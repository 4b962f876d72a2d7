//! Loads of rows by their keys.

use super::failure::is_plan_outdated;
use super::lease::{Connections, Lease};
use crate::codec::key::KeyArray;
use crate::codec::row::LoadedColumns;
use crate::common::lock::lock;
use crate::error::{Error, ErrorKind, Step};
use crate::store::{LoadColumns, LoadState, LoadStatement, Loading, Takes};
use cache_sync_core::number::{Epoch, HostTime, Lsn, Sequence};
use futures_util::{Stream, TryStreamExt};
use std::sync::Mutex;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

const STEP: Step = "loading rows";

/// A question that is answered before a load begins.
#[derive(Clone, Copy)]
pub(crate) struct Ahead<'a> {
    pub(crate) text: &'a str,
    /// Filled before what is taken begins; each try has its own answer.
    pub(crate) answer: &'a Mutex<Option<Row>>,
}

/// Loads rows over a connection of the pool, in one autocommitted statement. `false`: another table has the name.
pub(crate) async fn load(
    connections: &Connections,
    statement: &LoadStatement,
    loading: &Loading<'_>,
    ahead: Option<Ahead<'_>>,
    takes: &mut (dyn Takes + '_),
) -> Result<bool, Error> {
    let arrays: Vec<KeyArray> = loading.keys.arrays(&loading.meta.key).map_err(|error| {
        Error::caused(ErrorKind::Mismatch, format!("a key does not fit table {}", loading.meta.name), error)
    })?;
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&loading.session, &loading.meta.table_id.0];
    params.extend(arrays.iter().map(|array| array as &(dyn ToSql + Sync)));
    let client = connections.get(STEP).await?;
    let sent = Sent { text: statement.text(loading.keys.count()), params: &params, columns: statement.columns };
    let loaded = sent.run(&client, loading.meta.relation, ahead, takes).await;
    client.idle();
    loaded
}

/// A statement that loads rows.
struct Sent<'a> {
    text: &'a str,
    params: &'a [&'a (dyn ToSql + Sync)],
    columns: LoadColumns,
}

impl Sent<'_> {
    async fn run(
        &self,
        client: &Lease<'_>,
        relation: u32,
        ahead: Option<Ahead<'_>>,
        takes: &mut (dyn Takes + '_),
    ) -> Result<bool, Error> {
        let failed = |error| Error::query(STEP, error);
        for last_try in [false, true] {
            let load = client.prepare(self.text).await.map_err(failed)?;
            let begun = async {
                let mut rows = Box::pin(client.query_raw(&load, self.params.iter().copied()).await?);
                let first = rows.try_next().await?;
                Ok((first, rows))
            };
            // Both are sent at once; the server answers one after the other.
            let begun = match ahead {
                None => begun.await,
                Some(Ahead { text, answer }) => {
                    let asked = client.prepare(text).await.map_err(failed)?;
                    let (asked, begun) = tokio::join!(client.query_one(&asked, &[]), begun);
                    *lock(answer) = Some(asked.map_err(failed)?);
                    begun
                }
            };
            let (mut next, mut rows) = match begun {
                Err(error) if !last_try && is_plan_outdated(&error) => {
                    client.statement_cache.clear();
                    continue;
                }
                begun => begun.map_err(failed)?,
            };
            let mut early = Vec::new();
            let state = first_state(&mut next, &mut rows, &mut early).await?;
            let is_of_table = state.relation == relation;
            let is_wanted = is_of_table && takes.begin(state);
            for row in early.iter().filter(|_| is_wanted) {
                takes.row(&self.columns_of(row));
            }
            drop(early);
            next = rows.try_next().await.map_err(failed)?;
            while let Some(row) = next {
                if is_wanted {
                    takes.row(&self.columns_of(&row));
                }
                next = rows.try_next().await.map_err(failed)?;
            }
            return Ok(is_of_table);
        }
        Err(Error::new(ErrorKind::Unavailable, "loading rows: the table changes too often"))
    }

    fn columns_of<'a>(&self, row: &'a Row) -> LoadedColumns<'a> {
        let number = |column: Option<usize>| column.and_then(|column| row.get::<_, Option<i64>>(column));
        let LoadColumns { version, good_for, first } = self.columns;
        LoadedColumns { place: row.get(1), version: number(version), good_for: number(good_for), row, first }
    }
}

/// What the statement saw. That of the first key comes first, as long as the server does not look them up in another order: what comes ahead of it
/// is kept.
async fn first_state(
    next: &mut Option<Row>,
    rows: &mut (impl Stream<Item = Result<Row, tokio_postgres::Error>> + Unpin),
    early: &mut Vec<Row>,
) -> Result<LoadState, Error> {
    loop {
        let Some(row) = next.take() else { return Err(unknown()) };
        let state = state_of(&row)?;
        early.push(row);
        match state {
            Some(state) => return Ok(state),
            None => *next = rows.try_next().await.map_err(|error| Error::query(STEP, error))?,
        }
    }
}

/// What a load's statement saw beside the rows; `None`: it stands in another row.
fn state_of(row: &Row) -> Result<Option<LoadState>, Error> {
    let state: Option<Vec<i64>> = row.try_get(0).map_err(|error| Error::query(STEP, error))?;
    let Some(state) = state else { return Ok(None) };
    match state[..] {
        [epoch, last_seq, lsn, host_time, relation] => {
            let (epoch, lsn) = (Epoch(epoch.cast_unsigned()), Lsn(lsn.cast_unsigned()));
            let (host_time, relation) = (HostTime(host_time), relation as u32);
            Ok(Some(LoadState { epoch, last_seq: Sequence(last_seq), lsn, host_time, relation }))
        }
        _ => Err(unknown()),
    }
}

fn unknown() -> Error {
    Error::new(ErrorKind::Mismatch, "the extension's load_state answers in a way unknown here")
}
