//! Loads of rows by key.

use crate::codec::key::{self, Key, KeyArray, KeyColumn, KeyMismatch};
use crate::codec::layout::{Layout, TableMeta, literal, quote};
use crate::codec::row::LoadedColumns;
use crate::codec::schema::Schema;
use cache_sync_core::number::{Epoch, HostTime, Lsn, Sequence};
use uuid::Uuid;

/// The statements that load rows of one table.
pub(crate) struct LoadStatement {
    /// One key, which most misses of an idle client are: it spares the server the table of the keys.
    one: String,
    many: String,
    pub(crate) columns: LoadColumns,
}

/// Which columns of a load's row stand ahead of those of the type, beside the state and the key's place. What a table does not have is not
/// sent: of many rows each column counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadColumns {
    pub(crate) version: Option<usize>,
    pub(crate) good_for: Option<usize>,
    /// Where those of the type begin.
    pub(crate) first: usize,
}

impl LoadColumns {
    fn of(meta: &TableMeta) -> LoadColumns {
        let mut count = 2;
        let mut next = |is_there: bool| {
            is_there.then(|| {
                count += 1;
                count - 1
            })
        };
        let (version, good_for) = (next(meta.versioned), next(meta.expires.is_some()));
        LoadColumns { version, good_for, first: count }
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
        LoadStatement { one, many, columns: LoadColumns::of(meta) }
    }

    /// The one for so many keys.
    pub(crate) fn text(&self, keys: usize) -> &str {
        if keys == 1 { &self.one } else { &self.many }
    }
}

/// Keys of whatever type.
pub(crate) trait Keys: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// An array for each column of the key.
    fn arrays(&self, columns: &[KeyColumn]) -> Result<Vec<KeyArray>, KeyMismatch>;

    /// One of them as JSON members, as `apply` takes it.
    #[cfg_attr(not(feature = "in-memory"), expect(dead_code, reason = "Postgres takes arrays"))]
    fn members(&self, place: usize, columns: &[KeyColumn]) -> String;
}

/// Keys of one type.
pub(crate) struct KeysOf<'a, K>(pub(crate) &'a [K]);

impl<K: Key> Keys for KeysOf<'_, K> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn arrays(&self, columns: &[KeyColumn]) -> Result<Vec<KeyArray>, KeyMismatch> {
        key::arrays(self.0, columns)
    }

    fn members(&self, place: usize, columns: &[KeyColumn]) -> String {
        let mut members = String::new();
        key::write_members(&self.0[place], columns, &mut members);
        members
    }
}

/// Some keys that are to be loaded.
pub(crate) struct Loading<'a> {
    /// The session whose last batch is to be told.
    pub(crate) session: Uuid,
    pub(crate) meta: &'a TableMeta,
    /// The columns that are wanted.
    #[cfg_attr(not(feature = "in-memory"), expect(dead_code, reason = "to Postgres the statement says it"))]
    pub(crate) layout: &'a Layout,
    pub(crate) keys: &'a dyn Keys,
}

/// What a load saw beside the rows.
pub(crate) struct LoadState {
    pub(crate) epoch: Epoch,
    pub(crate) last_seq: Sequence,
    /// What the rows show was in the log by then.
    pub(crate) lsn: Lsn,
    /// What the clock of the server's host showed meanwhile.
    pub(crate) host_time: HostTime,
    /// The oid of the relation that the rows are of.
    pub(crate) relation: u32,
}

/// What is done with what a load brings, row by row as it comes: rows may be large, and thousands.
pub(crate) trait Takes: Send {
    /// Told what the load saw, ahead of the rows. `false`: the rows are not wanted.
    fn begin(&mut self, state: LoadState) -> bool;

    /// Takes the next row.
    fn row(&mut self, row: &LoadedColumns<'_>);
}

/// Two closures that do it: `each` takes a row with what `begin` has made.
pub(crate) struct Taking<T, B, E> {
    begin: B,
    each: E,
    /// What `begin` has made; `None`: it was not called, or the rows are not wanted.
    pub(crate) begun: Option<T>,
}

impl<T, B, E> Taking<T, B, E>
where
    B: FnMut(LoadState) -> Option<T>,
    E: FnMut(&T, &LoadedColumns<'_>),
{
    pub(crate) fn new(begin: B, each: E) -> Taking<T, B, E> {
        Taking { begin, each, begun: None }
    }
}

impl<T, B, E> Takes for Taking<T, B, E>
where
    T: Send,
    B: FnMut(LoadState) -> Option<T> + Send,
    E: FnMut(&T, &LoadedColumns<'_>) + Send,
{
    fn begin(&mut self, state: LoadState) -> bool {
        self.begun = (self.begin)(state);
        self.begun.is_some()
    }

    fn row(&mut self, row: &LoadedColumns<'_>) {
        if let Some(begun) = &self.begun {
            (self.each)(begun, row);
        }
    }
}
