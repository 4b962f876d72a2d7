//! What a query reads, as the server says.

use super::bind::Bound;
use super::question::{Rows, TagIs};
use super::tag::TagValue;
use crate::error::{Error, ErrorKind};
use cache_sync_core::number::TableId;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// So many values of one parameter are looked after one by one. More of them, and any row of the table counts.
const VALUES_MAX: usize = 1000;

/// What `cache_sync.dependencies` answers.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Reads {
    pub(super) tables: Vec<TableRead>,
    pub(super) refused: Vec<Refusal>,
}

/// A table that is read.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct TableRead {
    pub(super) table_id: TableId,
    /// Its name, quoted and qualified.
    pub(super) relation: String,
    whole: bool,
    tags: BTreeMap<String, Vec<Value>>,
    keys: Vec<Vec<Value>>,
}

/// Something of which nobody would tell.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Refusal {
    what: String,
    hint: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    Parameter(usize),
    EachOf(usize),
    #[serde(rename = "value")]
    Fixed(Constant),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Constant {
    Null,
    Int(i64),
    Text(String),
    Bytes(String),
    Uuid(String),
    Bool(bool),
    Date(i32),
    Timestamp(i64),
}

impl Reads {
    pub(super) fn parse(answer: &str) -> Result<Reads, Error> {
        serde_json::from_str(answer).map_err(|error| {
            Error::caused(ErrorKind::Mismatch, "the extension says what a query reads in a way unknown here", error)
        })
    }

    /// Refuses what changes without anybody being told.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.refused.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the query cannot be cached: it has {}; assume_complete() takes it as it is",
            self.refusals().join(", and ")
        );
        Err(Error::new(ErrorKind::Config, message))
    }

    pub(super) fn refusals(&self) -> Vec<String> {
        self.refused.iter().map(|Refusal { what, hint }| format!("{what} ({hint})")).collect()
    }
}

impl TableRead {
    /// Which of its rows matter, with these parameters.
    pub(super) fn rows(&self, parameters: &[Box<dyn Bound>]) -> Vec<Rows> {
        let pinned = (!self.whole).then(|| self.pinned(parameters)).flatten();
        pinned.filter(|rows| rows.len() <= VALUES_MAX).unwrap_or_else(|| vec![Rows::All])
    }

    /// `None` where a parameter is of a type whose values cannot be told here.
    fn pinned(&self, parameters: &[Box<dyn Bound>]) -> Option<Vec<Rows>> {
        let mut all = Vec::new();
        for (name, values) in &self.tags {
            for value in values {
                let tag = |value| Rows::Tag(TagIs { name: name.clone(), value });
                all.extend(value.meant(parameters)?.into_iter().map(tag));
            }
        }
        for key in &self.keys {
            let columns: Option<Vec<_>> = key.iter().map(|value| value.meant(parameters)).collect();
            let columns = columns?;
            if let [only] = &*columns {
                all.extend(only.iter().map(|value| Rows::Key(vec![value.clone()])));
            } else {
                let each = columns.into_iter().map(|mut values| values.pop().filter(|_| values.is_empty()));
                all.push(Rows::Key(each.collect::<Option<_>>()?));
            }
        }
        Some(all)
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let mut text = self.relation.clone();
        let mut between = " where ";
        let mut add = |name: &str, values: String| {
            // A String takes whatever is written.
            let _ = write!(text, "{between}{name} is {values}");
            between = ", or ";
        };
        for (tag, values) in &self.tags {
            add(tag, values.iter().map(Value::describe).collect::<Vec<_>>().join(" or "));
        }
        for key in &self.keys {
            add("its key", key.iter().map(Value::describe).collect::<Vec<_>>().join(", "));
        }
        text
    }
}

impl Value {
    fn meant(&self, parameters: &[Box<dyn Bound>]) -> Option<Vec<TagValue>> {
        match self {
            Value::Parameter(number) | Value::EachOf(number) => {
                let values = parameters.get(number.checked_sub(1)?)?.tag_values()?;
                (values.len() == 1 || matches!(self, Value::EachOf(_))).then_some(values)
            }
            Value::Fixed(constant) => Some(vec![constant.value()?]),
        }
    }

    fn describe(&self) -> String {
        match self {
            Value::Parameter(number) => format!("${number}"),
            Value::EachOf(number) => format!("any of ${number}"),
            Value::Fixed(constant) => format!("{constant:?}"),
        }
    }
}

impl Constant {
    fn value(&self) -> Option<TagValue> {
        Some(match self {
            Constant::Null => TagValue::Null,
            Constant::Int(int) => TagValue::Int(*int),
            Constant::Text(text) => TagValue::Text(text.clone()),
            Constant::Bytes(hex) => TagValue::Bytes(bytes(hex)?),
            Constant::Uuid(hex) => TagValue::Uuid(bytes(hex)?.try_into().ok()?),
            Constant::Bool(bool) => TagValue::Bool(*bool),
            Constant::Date(days) => TagValue::Date(*days),
            Constant::Timestamp(micros) => TagValue::Timestamp(*micros),
        })
    }
}

/// What hexadecimal digits say.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}
