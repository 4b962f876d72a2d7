//! Queries: what a test answers in place of SQL.

use super::rows::Answered;
use super::state::State;
use crate::codec::layout::{Layout, quote};
use crate::codec::row::Columns;
use crate::error::{Error, ErrorKind, Step};
use crate::store::{Selected, Selecting};
use bytes::BytesMut;
use cache_sync_core::number::Epoch;
use postgres_types::{IsNull, ToSql, Type};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

const STEP: Step = "running a query";

/// The rows of all tables at one moment, and the parameters of a query: for [`InMemory::answer`](super::InMemory::answer).
#[derive(Debug)]
pub struct Asked<'a> {
    pub(super) rows: &'a BTreeMap<String, Vec<Value>>,
    params: Vec<Value>,
}

impl Asked<'_> {
    /// The rows of a table, each an object by its columns' names, in the order of their keys; none of a table that is not there.
    pub fn rows(&self, table: &str) -> &[Value] {
        self.rows.get(table).map_or(&[], Vec::as_slice)
    }

    /// The parameter `$number`, counted from 1, as JSON; null if there is none.
    pub fn param(&self, number: usize) -> &Value {
        const NULL: Value = Value::Null;
        number.checked_sub(1).and_then(|place| self.params.get(place)).unwrap_or(&NULL)
    }
}

type Answer = Arc<dyn Fn(&Asked<'_>) -> Vec<Value> + Send + Sync>;

/// What is answered to which statement.
#[derive(Default)]
pub(super) struct Answers(BTreeMap<String, Known>);

/// Who answers a statement.
#[derive(Clone)]
pub(super) struct Known {
    tables: Vec<String>,
    answer: Answer,
}

impl Answers {
    /// Returns whether there was another answer before.
    pub(super) fn set(
        &mut self,
        sql: &str,
        tables: &[&str],
        answer: impl Fn(&Asked<'_>) -> Vec<Value> + Send + Sync + 'static,
    ) -> bool {
        let tables = tables.iter().map(|table| (*table).to_owned()).collect();
        self.0.insert(sql.to_owned(), Known { tables, answer: Arc::new(answer) }).is_some()
    }

    /// Who answers the statement.
    pub(super) fn known(&self, sql: &str) -> Result<Known, Error> {
        self.0.get(sql).cloned().ok_or_else(|| {
            let message = "the database in memory knows no answer to this statement: say it with `answer`";
            Error::saying(STEP, "0A000", message)
        })
    }

    /// What the statement reads: all rows of the tables that were named.
    pub(super) fn dependencies(&self, sql: &str, state: &State) -> Result<String, Error> {
        let read = |name: &String| {
            let missing = || Error::saying(STEP, "42P01", format!("relation \"{name}\" does not exist"));
            let meta = &state.tables[state.named(name).ok_or_else(missing)?].table.meta;
            let relation = format!("public.{}", quote(&meta.name));
            Ok(json!({"table_id": meta.table_id.0, "relation": relation, "whole": true, "tags": {}, "keys": []}))
        };
        let tables = self.known(sql)?.tables.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
        Ok(json!({"tables": tables, "refused": []}).to_string())
    }
}

/// All rows at one moment.
pub(super) struct Rows {
    epoch: Epoch,
    /// Until the first of those expires that the answer may be made of.
    good_for: Option<Duration>,
    all: BTreeMap<String, Vec<Value>>,
}

impl Known {
    /// The rows that there are now, which are all that the answer is made of.
    pub(super) fn rows(&self, state: &State) -> Rows {
        Rows { epoch: state.epoch, good_for: state.next_expiry(&self.tables), all: state.all_rows() }
    }

    /// Runs it over these rows. Nothing is locked meanwhile: an answer may ask the database itself.
    pub(super) fn run(&self, rows: &Rows, selecting: Selecting<'_>) -> Result<Selected, Error> {
        let params = selecting.params.iter().map(|param| shown(*param)).collect::<Result<Vec<_>, _>>()?;
        let answer = (self.answer)(&Asked { rows: &rows.all, params });
        let names: Vec<String> = match answer.first() {
            Some(Value::Object(members)) => members.keys().cloned().collect(),
            Some(Value::Array(values)) => (1..=values.len()).map(|number| format!("column{number}")).collect(),
            _ => vec!["column1".to_owned()],
        };
        let layout = Layout::of_shown(names.iter().map(|name| (name.as_str(), &Type::JSONB)));
        let (mut bytes, mut digest) = (0, DefaultHasher::new());
        for row in &answer {
            let cells: Vec<String> = match row {
                Value::Object(members) => {
                    names.iter().map(|name| members.get(name).unwrap_or(&Value::Null).to_string()).collect()
                }
                Value::Array(values) => values.iter().map(Value::to_string).collect(),
                value => vec![value.to_string()],
            };
            let row = Answered { cells: &cells };
            bytes += row.size();
            row.digest(0, &mut digest);
            (selecting.read)(&layout, &row)?;
        }
        Ok(Selected { epoch: rows.epoch, bytes, digest: digest.finish(), good_for: rows.good_for })
    }
}

/// A parameter as JSON.
fn shown(param: &(dyn ToSql + Sync)) -> Result<Value, Error> {
    const TYPES: [Type; 16] = [
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::TEXT,
        Type::BYTEA,
        Type::UUID,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMP,
        Type::DATE,
        Type::JSONB,
        Type::INT4_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
    ];
    for ty in &TYPES {
        let mut bytes = BytesMut::new();
        match param.to_sql_checked(ty, &mut bytes) {
            Ok(IsNull::Yes) => return Ok(Value::Null),
            Ok(IsNull::No) => {
                return crate::codec::row::value::<Value>(ty, &bytes).map_err(|error| {
                    Error::caused(ErrorKind::Value, "a parameter cannot be shown to the answer of a query", error)
                });
            }
            // It is of another type.
            Err(_) => {}
        }
    }
    Err(Error::new(
        ErrorKind::Value,
        format!("a parameter is of a type that answers in memory are not shown: {param:?}"),
    ))
}
