//! What `dependencies()` says.

use serde::Serialize;
use std::collections::BTreeMap;

/// A dependency on so many values is one on the whole table: each costs its reader a counter.
const VALUES_MAX: usize = 256;

/// What a statement reads.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answer {
    pub(super) tables: Vec<TableRead>,
    /// The types of the statement's parameters.
    pub(super) parameters: Vec<String>,
    pub(super) refused: Vec<Refusal>,
}

/// An attached table that is read.
#[derive(Debug, Serialize)]
pub(super) struct TableRead {
    pub(super) table_id: i32,
    /// Its name, quoted and qualified.
    pub(super) relation: String,
    /// Whether any of its rows may matter. Else those do that have or had one of the values in one of the tags, or one of the keys.
    pub(super) whole: bool,
    pub(super) tags: BTreeMap<String, Vec<Value>>,
    /// Each with a value for each column of the primary key.
    pub(super) keys: Vec<Vec<Value>>,
}

/// A value with which a column is compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Value {
    /// That of a parameter, from 1.
    Parameter(i32),
    /// Each element of a parameter that is an array.
    EachOf(i32),
    /// `{"int": 7}` and the like, with the words of [`super::constant`]; `"null"`.
    Value(serde_json::Value),
}

/// Something that can change without anybody being told.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) hint: String,
}

/// What pins the rows that are read of a table.
#[derive(Debug)]
pub(super) enum Pin {
    Nothing,
    Tag(String, Vec<Value>),
    Keys(Vec<Vec<Value>>),
}

impl Answer {
    pub(super) fn refuse(&mut self, what: impl Into<String>, hint: &str) {
        let refusal = Refusal { what: what.into(), hint: hint.to_owned() };
        if !self.refused.contains(&refusal) {
            self.refused.push(refusal);
        }
    }

    /// Notes that a table is read, perhaps once more.
    pub(super) fn read(&mut self, table_id: i32, relation: impl FnOnce() -> String, pin: Pin) {
        let place = self.tables.iter().position(|table| table.table_id == table_id).unwrap_or_else(|| {
            let relation = relation();
            let (tags, keys) = Default::default();
            self.tables.push(TableRead { table_id, relation, whole: false, tags, keys });
            self.tables.len() - 1
        });
        self.tables[place].add(pin);
    }
}

impl TableRead {
    fn add(&mut self, pin: Pin) {
        match pin {
            Pin::Nothing => self.whole = true,
            Pin::Tag(tag, values) => unite(self.tags.entry(tag).or_default(), values),
            Pin::Keys(keys) => unite(&mut self.keys, keys),
        }
        let count = self.keys.len() + self.tags.values().map(Vec::len).sum::<usize>();
        if self.whole || count > VALUES_MAX {
            self.whole = true;
            self.tags.clear();
            self.keys.clear();
        }
    }
}

fn unite<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}
