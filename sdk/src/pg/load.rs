//! Loads of rows by their keys.

use super::failure::is_plan_outdated;
use super::lease::{Connections, Lease};
use crate::codec::key::{self, Key, KeyArray, KeyColumn};
use crate::codec::layout::{TableMeta, literal, quote};
use crate::codec::row;
use crate::codec::schema::Schema;
use crate::codec::value::{self, CacheValue, Value};
use crate::error::{Error, ErrorKind, Step};
use cache_sync_core::number::{Epoch, HostTime, Lsn, Sequence, Version};
use futures_util::TryStreamExt;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

pub(super) const STEP: Step = "loading rows";

/// The statements that load rows of one table.
pub(crate) struct LoadStatement {
    /// One key, which most misses of an idle client are: it spares the server the table of the keys.
    one: String,
    many: String,
}

/// Which columns of a load's row stand ahead of those of the type, beside the state and the key's place. What a table does not have is not
/// sent: of many rows each column counts.
struct Ahead {
    version: Option<usize>,
    good_for: Option<usize>,
    count: usize,
}

impl Ahead {
    fn of(meta: &TableMeta) -> Ahead {
        let mut count = 2;
        let mut next = |is_there: bool| {
            is_there.then(|| {
                count += 1;
                count - 1
            })
        };
        let (version, good_for) = (next(meta.versioned), next(meta.expires.is_some()));
        Ahead { version, good_for, count }
    }
}

impl LoadStatement {
    /// One row per key asked for, missing ones too, whose place is negative, so that what was seen of the session comes along even when no
    /// row exists. `load_state` is STABLE and stands in a subselect of its own: it reads with the snapshot of the rows, once.
    pub(crate) fn new(schema: &Schema) -> LoadStatement {
        let Schema { meta, layout, .. } = schema;
        let keys = || meta.key.iter().enumerate();
        let version = if meta.versioned { "t.cs_version, " } else { "" };
        // A row that has expired is none; of the others the client hears for how many microseconds they are good.
        let (good_for, is_good) = match &meta.expires {
            None => (String::new(), String::new()),
            Some(column) => (
                format!(
                    "CASE WHEN pg_catalog.isfinite(t.{column}) THEN (EXTRACT(EPOCH FROM t.{column} \
                     OPERATOR(pg_catalog.-) pg_catalog.now()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 END, "
                ),
                format!(" AND (t.{column} IS NULL OR t.{column} OPERATOR(pg_catalog.>) pg_catalog.now())"),
            ),
        };
        let array = |place: usize, column: &KeyColumn| format!("${}::{}[]", place + 3, column.sql_type);
        let table = format!("{}.{}", quote(&meta.schema), quote(&meta.name));
        // Looked up with the name after FROM: the relation that the rows are of.
        let relation = format!("{}::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8", literal(&table));
        let text = |asked: &str, state: &dyn Fn(&str) -> String, value: &dyn Fn(usize, &KeyColumn) -> String| {
            let on = |(place, column): (usize, &KeyColumn)| {
                format!("t.{} OPERATOR(pg_catalog.=) {}", quote(&column.name), value(place, column))
            };
            format!(
                "SELECT {state}, CASE WHEN t.{first} IS NULL THEN OPERATOR(pg_catalog.-) k.ord ELSE k.ord END, \
                 {version}{good_for}{columns} \
                 FROM {asked} LEFT JOIN {table} AS t ON {on}{is_good}",
                state = state(&format!("(SELECT cache_sync.load_state($1, $2) OPERATOR(pg_catalog.||) {relation})")),
                first = quote(&meta.key[0].name),
                columns = layout.select_list("t"),
                on = keys().map(on).collect::<Vec<_>>().join(" AND "),
            )
        };
        let one = text("(SELECT 1::pg_catalog.int8 AS ord) AS k", &str::to_owned, &|place, column| {
            format!("({})[1]", array(place, column))
        });
        // As a subselect, so that the planner guesses the same of all arrays: for those that it knows it would make another plan each time.
        let unnest =
            |(place, column): (usize, &KeyColumn)| format!("pg_catalog.unnest((SELECT {}))", array(place, column));
        let arrays: Vec<_> = keys().map(unnest).collect();
        let names: Vec<_> = keys().map(|(place, _)| format!("k{place}")).collect();
        let (arrays, names) = (arrays.join(", "), names.join(", "));
        let asked = format!("ROWS FROM ({arrays}) WITH ORDINALITY AS k({names}, ord)");
        // In one row of them all.
        let once = |state: &str| format!("CASE WHEN k.ord OPERATOR(pg_catalog.=) 1 THEN {state} END");
        let many = text(&asked, &once, &|place, _| format!("k.k{place}"));
        LoadStatement { one, many }
    }

    fn text(&self, keys: usize) -> &str {
        if keys == 1 { &self.one } else { &self.many }
    }
}

/// What a load's statement saw beside the rows.
pub(crate) struct LoadState {
    pub(crate) epoch: Epoch,
    pub(crate) last_seq: Sequence,
    /// What the rows show was in the log by then.
    pub(crate) lsn: Lsn,
    /// What the clock of the server's host showed meanwhile.
    pub(crate) host_time: HostTime,
    /// The oid of the relation that the rows are of.
    relation: u32,
}

/// Some keys that are to be loaded.
pub(crate) struct Loading<'a, K> {
    pub(crate) session: Uuid,
    pub(crate) meta: &'a TableMeta,
    pub(crate) keys: &'a [K],
}

/// What is done with what a load brings, row by row as it comes: rows may be large, and thousands.
pub(crate) struct Taking<B, E> {
    /// Told what the statement saw, and what was asked ahead of it; `None`: the rows are not wanted.
    pub(crate) begin: B,
    /// Takes each row, with what `begin` has made.
    pub(crate) each: E,
}

impl<K: Key> Loading<'_, K> {
    /// Loads them over a connection of the pool, in one autocommitted statement. What is asked `ahead` is answered before that
    /// begins. Returns what `begin` has made; `None` also where another table has the name.
    pub(crate) async fn run<T>(
        &self,
        connections: &Connections,
        statement: &LoadStatement,
        ahead: Option<&str>,
        taking: Taking<impl FnMut(Option<Row>, LoadState) -> Option<T>, impl FnMut(&T, &Row)>,
    ) -> Result<Option<T>, Error> {
        let arrays: Vec<KeyArray> = key::arrays(self.keys, &self.meta.key).map_err(|error| {
            Error::caused(ErrorKind::Mismatch, format!("a key does not fit table {}", self.meta.name), error)
        })?;
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&self.session, &self.meta.table_id.0];
        params.extend(arrays.iter().map(|array| array as &(dyn ToSql + Sync)));
        let client = connections.get(STEP).await?;
        let text = statement.text(self.keys.len());
        let loaded = load(&client, self.meta, text, &params, ahead, taking).await;
        client.idle();
        loaded
    }
}

async fn load<T>(
    client: &Lease<'_>,
    meta: &TableMeta,
    text: &str,
    params: &[&(dyn ToSql + Sync)],
    ahead: Option<&str>,
    mut taking: Taking<impl FnMut(Option<Row>, LoadState) -> Option<T>, impl FnMut(&T, &Row)>,
) -> Result<Option<T>, Error> {
    let failed = |error| Error::query(STEP, error);
    for last_try in [false, true] {
        let load = client.prepare(text).await.map_err(failed)?;
        let begun = async {
            let mut rows = Box::pin(client.query_raw(&load, params.iter().copied()).await?);
            let first = rows.try_next().await?;
            Ok((first, rows))
        };
        // Both are sent at once; the server answers one after the other.
        let (ahead, begun) = match ahead {
            None => (None, begun.await),
            Some(text) => {
                let ahead = client.prepare(text).await.map_err(failed)?;
                let (ahead, begun) = tokio::join!(client.query_one(&ahead, &[]), begun);
                (Some(ahead.map_err(failed)?), begun)
            }
        };
        let (mut next, mut rows) = match begun {
            Err(error) if !last_try && is_plan_outdated(&error) => {
                client.statement_cache.clear();
                continue;
            }
            begun => begun.map_err(failed)?,
        };
        // That of the first key comes first, as long as the server does not look them up in another order.
        let mut early = Vec::new();
        let state = loop {
            let Some(row) = next.take() else { return Err(LoadState::unknown()) };
            let state = LoadState::of(&row)?;
            early.push(row);
            match state {
                Some(state) => break state,
                None => next = rows.try_next().await.map_err(failed)?,
            }
        };
        let taken = if state.relation == meta.relation { (taking.begin)(ahead, state) } else { None };
        if let Some(taken) = &taken {
            early.iter().for_each(|row| (taking.each)(taken, row));
        }
        drop(early);
        next = rows.try_next().await.map_err(failed)?;
        while let Some(row) = next {
            if let Some(taken) = &taken {
                (taking.each)(taken, &row);
            }
            next = rows.try_next().await.map_err(failed)?;
        }
        return Ok(taken);
    }
    Err(Error::new(ErrorKind::Unavailable, "loading rows: the table changes too often"))
}

impl LoadState {
    /// `None`: it stands in another row.
    fn of(row: &Row) -> Result<Option<LoadState>, Error> {
        let state: Option<Vec<i64>> = row.try_get(0).map_err(|error| Error::query(STEP, error))?;
        let Some(state) = state else { return Ok(None) };
        match state[..] {
            [epoch, last_seq, lsn, host_time, relation] => {
                let (epoch, lsn) = (Epoch(epoch.cast_unsigned()), Lsn(lsn.cast_unsigned()));
                let (host_time, relation) = (HostTime(host_time), relation as u32);
                Ok(Some(LoadState { epoch, last_seq: Sequence(last_seq), lsn, host_time, relation }))
            }
            _ => Err(LoadState::unknown()),
        }
    }

    fn unknown() -> Error {
        Error::new(ErrorKind::Mismatch, "the extension's load_state answers in a way unknown here")
    }
}

/// A row as a load's statement answers it.
pub(crate) struct LoadedRow<V> {
    /// The key's place among those that were asked for.
    pub(crate) place: usize,
    /// The row; none if there is none, an error if it does not fit the type.
    pub(crate) value: Result<Value<V>, Error>,
    /// As stored; [`Version::NONE`] on plain tables and where there is no row.
    pub(crate) version: Version,
    /// For how long the row is good, counted from the start of the statement; none if it does not expire.
    pub(crate) good_for: Option<Duration>,
}

/// Of what the row says from this column on.
fn digest(row: &Row, first_column: usize) -> u32 {
    let mut hasher = DefaultHasher::new();
    row::digest(row, first_column, &mut hasher);
    // 0 has a meaning of its own.
    (hasher.finish() as u32).max(1)
}

impl<V: CacheValue> LoadedRow<V> {
    /// Reads it; `None` when the server names a place that was not asked for.
    pub(crate) fn of(row: &Row, schema: &Schema) -> Option<LoadedRow<V>> {
        let ahead = Ahead::of(&schema.meta);
        let place: i64 = row.get(1);
        let value = (place > 0).then(|| {
            let decoded = row::decode::<V>(&schema.layout, row, ahead.count);
            let digest = digest(row, ahead.count);
            let sent = |value| value::Row { digest, ..value::Row::new(value, row.raw_size_bytes()) };
            decoded.map(sent).map_err(|error| {
                let message = format!("a row of table {} does not fit the type", schema.meta.name);
                Error::caused(ErrorKind::Value, message, error)
            })
        });
        let number = |column: Option<usize>| column.and_then(|column| row.get::<_, Option<i64>>(column));
        let good_for = number(ahead.good_for);
        Some(LoadedRow {
            place: usize::try_from(place.checked_abs()? - 1).ok()?,
            value: value.transpose(),
            version: number(ahead.version).map_or(Version::NONE, Version),
            good_for: good_for.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs())),
        })
    }
}
