//! Rows as they are kept, and shown.

use super::moments;
use super::table::Defined;
use super::types::{Misfit, kept};
use crate::codec::fields;
use crate::codec::layout::{Column, Layout};
use crate::codec::row::{Cell, Columns, DecodeError};
use cache_sync_core::key::{KeyHasher, KeyPart};
use cache_sync_core::number::{FieldId, KeyHash, Stamp};
use cache_sync_core::paths::Paths;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// A row: each column's value as JSON text.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) values: BTreeMap<FieldId, String>,
    /// When they were written.
    pub(super) stamps: BTreeMap<FieldId, Paths>,
    /// 0 in plain tables.
    pub(super) version: i64,
}

impl Row {
    pub(super) fn value(&self, id: FieldId) -> &str {
        self.values.get(&id).map_or("null", String::as_str)
    }

    pub(super) fn paths(&self, id: FieldId) -> Paths {
        self.stamps.get(&id).cloned().unwrap_or_else(|| Paths::all(Stamp(self.version)))
    }

    /// In how many microseconds it expires, by the wall clock; `None`: it does not.
    pub(super) fn expires_in(&self, table: &Defined, now: i64) -> Option<i64> {
        let text: String = serde_json::from_str(self.value(table.id(table.expires.as_ref()?)?)).ok()?;
        moments::micros(&text).filter(|at| *at != i64::MAX).map(|at| at.saturating_sub(now))
    }

    pub(super) fn is_there(&self, table: &Defined, now: i64) -> bool {
        self.expires_in(table, now).is_none_or(|micros| micros > 0)
    }

    /// As JSON, by the columns' names.
    pub(super) fn to_json(&self, table: &Defined) -> Value {
        let member = |(id, column): (FieldId, &super::table::Column)| {
            (column.name.clone(), serde_json::from_str(self.value(id)).unwrap_or_default())
        };
        Value::Object(table.numbered().map(member).collect())
    }
}

/// The values of a key's columns, each as JSON text, in their order.
pub(super) type Key = Vec<String>;

/// The members of a JSON object, as they stand there.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// The key that is among the members.
pub(super) fn key_of(members: &Members, table: &Defined) -> Result<Key, Misfit> {
    let columns = table.columns.iter().filter(|column| column.is_key);
    let value = |column: &super::table::Column| {
        let missing =
            || Misfit { sqlstate: "22023", message: format!("the key's column \"{}\" is missing", column.name) };
        let text = members.get(&column.name).ok_or_else(missing)?.get();
        if text == "null" {
            return Err(Misfit { sqlstate: "23502", message: format!("the key's column \"{}\" is null", column.name) });
        }
        kept(&column.ty, text).map(|kept| kept.into_owned())
    };
    columns.map(value).collect()
}

/// Its hash, as the feed names it.
pub(super) fn hash(key: &Key, table: &Defined) -> KeyHash {
    let mut hasher = KeyHasher::new(&table.meta.hash_key);
    for (text, column) in key.iter().zip(table.columns.iter().filter(|column| column.is_key)) {
        match fields::cell(&column.ty, text) {
            Ok(Cell::Int(int)) => hasher.part(KeyPart::Int(int)),
            Ok(Cell::Bool(bool)) => hasher.part(KeyPart::Bool(bool)),
            Ok(Cell::Uuid(uuid)) => hasher.part(KeyPart::Uuid(uuid)),
            Ok(Cell::Bytes(bytes)) => hasher.part(KeyPart::Bytes(&bytes)),
            Ok(Cell::Text(text)) => hasher.part(KeyPart::Text(&text)),
            // No key is of another type.
            _ => {}
        }
    }
    hasher.finish()
}

/// A row as a load shows it: a text for each column of the layout.
pub(super) struct Shown<'a> {
    layout: &'a Layout,
    texts: Vec<Option<String>>,
}

impl Shown<'_> {
    /// The row; of one that is not there everything is null.
    pub(super) fn of<'a>(row: Option<&Row>, table: &Defined, layout: &'a Layout) -> Shown<'a> {
        let text = |column: &Column| {
            let row = row?;
            let own = column.document.as_ref().unwrap_or(&column.name);
            // What is no column of the user's is the version.
            let Some(id) = table.id(own) else { return Some(row.version.to_string()) };
            let value = row.value(id);
            if column.document.is_none() {
                return (value != "null").then(|| value.to_owned());
            }
            let document: BTreeMap<String, Box<RawValue>> = serde_json::from_str(value).ok()?;
            document.get(&column.name).map(|member| member.get().to_owned())
        };
        Shown { layout, texts: layout.columns.iter().map(text).collect() }
    }
}

impl Columns for Shown<'_> {
    fn count(&self) -> usize {
        self.texts.len()
    }

    fn cell(&self, place: usize) -> Result<Cell<'_>, DecodeError> {
        match &self.texts[place] {
            None => Ok(Cell::Null),
            Some(text) => fields::cell(&self.layout.columns[place].ty, text),
        }
    }

    fn is_there(&self, place: usize) -> bool {
        self.texts[place].is_some()
    }

    fn size(&self) -> usize {
        self.texts.iter().flatten().map(String::len).sum()
    }

    fn digest(&self, first_column: usize, mut into: &mut dyn Hasher) {
        self.texts[first_column..].hash(&mut into);
    }
}

/// A row of a query's answer.
pub(super) struct Answered<'a> {
    pub(super) cells: &'a [String],
}

impl Columns for Answered<'_> {
    fn count(&self) -> usize {
        self.cells.len()
    }

    fn cell(&self, place: usize) -> Result<Cell<'_>, DecodeError> {
        match self.cells[place].as_str() {
            "null" => Ok(Cell::Null),
            text => Ok(Cell::Json(text)),
        }
    }

    fn is_there(&self, place: usize) -> bool {
        self.cells[place] != "null"
    }

    fn size(&self) -> usize {
        self.cells.iter().map(String::len).sum()
    }

    fn digest(&self, first_column: usize, mut into: &mut dyn Hasher) {
        self.cells[first_column..].hash(&mut into);
    }
}
