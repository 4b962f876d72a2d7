//! Changes that a caller spells out, without having loaded the row.

use crate::error::{Error, Kind};
use crate::fields::to_field;
use crate::layout::{Layout, Role};
use cache_sync_core::patch::Fields;
use cache_sync_core::rule::Rule;
use serde::Serialize;

/// A change of some fields of a row, for [`Cache::patch`](crate::Cache::patch).
///
/// Each operation needs a field whose rule says the same: `add` one with rule `add`, and so on; `set` one with `lww` or
/// `arrival`.
///
/// ```
/// use cache_sync::Patch;
/// let patch = Patch::new().add("likes", 1).set("title", "Hello");
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Patch {
    operations: Vec<(String, Operation, Result<serde_json::Value, serde_json::Error>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Set,
    Add,
    Max,
    Min,
}

impl Patch {
    /// A patch that changes nothing yet.
    pub fn new() -> Patch {
        Patch::default()
    }

    /// Sets a field whose rule is `lww` or `arrival`.
    pub fn set(self, field: &str, value: impl Serialize) -> Patch {
        self.with(field, Operation::Set, value)
    }

    /// Adds to a field whose rule is `add`.
    pub fn add(self, field: &str, change: impl Serialize) -> Patch {
        self.with(field, Operation::Add, change)
    }

    /// Raises a field whose rule is `max` to at least `value`.
    pub fn max(self, field: &str, value: impl Serialize) -> Patch {
        self.with(field, Operation::Max, value)
    }

    /// Lowers a field whose rule is `min` to at most `value`.
    pub fn min(self, field: &str, value: impl Serialize) -> Patch {
        self.with(field, Operation::Min, value)
    }

    fn with(mut self, field: &str, operation: Operation, value: impl Serialize) -> Patch {
        self.operations.push((field.to_owned(), operation, serde_json::to_value(value)));
        self
    }

    pub(crate) fn into_fields(self, layout: &Layout) -> Result<Fields, Error> {
        let mut fields = Fields::new();
        for (name, operation, value) in self.operations {
            let violation =
                |why: String| Error::new(Kind::RuleViolation, format!("{operation:?} of \"{name}\": {why}"));
            let index = layout.index_of(&name).ok_or_else(|| violation("the type has no such member".to_owned()))?;
            let column = &layout.columns[usize::from(index)];
            match &column.role {
                Role::Field { rule, .. } if operation.suits(*rule) => {}
                Role::Field { rule, .. } => return Err(violation(format!("the field's rule is {rule}"))),
                Role::Key(_) => return Err(violation("it belongs to the key".to_owned())),
                Role::ReadOnly => return Err(violation("only Postgres writes it".to_owned())),
            }
            let unwritable = || format!("the value for \"{name}\" cannot be written");
            let value = value.map_err(|error| Error::caused(Kind::Value, unwritable(), error))?;
            let value = to_field(column, &value).map_err(|error| Error::caused(Kind::Value, unwritable(), error))?;
            if fields.insert(index, value).is_some() {
                return Err(violation("it is named twice".to_owned()));
            }
        }
        Ok(fields)
    }
}

impl Operation {
    fn suits(self, rule: Rule) -> bool {
        match self {
            Operation::Set => matches!(rule, Rule::Lww | Rule::Arrival),
            Operation::Add => rule == Rule::Add,
            Operation::Max => rule == Rule::Max,
            Operation::Min => rule == Rule::Min,
        }
    }
}
