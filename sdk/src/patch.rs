//! Changes that a caller spells out, without having loaded the row.

use crate::codec::fields::{EncodeError, to_field};
use crate::codec::layout::{Column, Layout, Role};
use crate::error::{Error, ErrorKind};
use cache_sync_core::fields::Fields;
use cache_sync_core::merge;
use cache_sync_core::number::Stamp;
use cache_sync_core::rule::Rule;
use serde::Serialize;
use std::fmt;

/// A change of some fields of a row, for [`Cache::patch`](crate::Cache::patch).
///
/// Each operation needs a field whose rule says the same: `add` one with rule `add`, and so on; `set` one with `lww`,
/// `arrival`, `first` or a function; `insert` and `remove` one with `union`; `merge` one with `json`.
///
/// ```
/// use cache_sync::Patch;
/// let patch = Patch::new().add("likes", 1).set("title", "Hello");
/// ```
#[derive(Default)]
#[must_use]
pub struct Patch<'a> {
    operations: Vec<(String, Operation, Encode<'a>)>,
}

/// Writes a value as its column takes it, once the column is known.
type Encode<'a> = Box<dyn FnOnce(&Column) -> Result<String, EncodeError> + Send + 'a>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Set,
    Add,
    Max,
    Min,
    Append,
    Insert,
    Remove,
    Merge,
}

impl<'a> Patch<'a> {
    /// A patch that changes nothing yet.
    pub fn new() -> Patch<'a> {
        Patch::default()
    }

    /// Sets a field whose rule is `lww`, `arrival`, `first` or a function.
    pub fn set(self, field: &str, value: impl Serialize + Send + 'a) -> Patch<'a> {
        self.with(field, Operation::Set, value)
    }

    /// Adds to a field whose rule is `add`.
    pub fn add(self, field: &str, change: impl Serialize + Send + 'a) -> Patch<'a> {
        self.with(field, Operation::Add, change)
    }

    /// Raises a field whose rule is `max` to at least `value`.
    pub fn max(self, field: &str, value: impl Serialize + Send + 'a) -> Patch<'a> {
        self.with(field, Operation::Max, value)
    }

    /// Lowers a field whose rule is `min` to at most `value`.
    pub fn min(self, field: &str, value: impl Serialize + Send + 'a) -> Patch<'a> {
        self.with(field, Operation::Min, value)
    }

    /// Puts elements at the end of a list whose rule is `append`.
    pub fn append(self, field: &str, elements: impl Serialize + Send + 'a) -> Patch<'a> {
        self.with(field, Operation::Append, elements)
    }

    /// Adds elements to a set, whose rule is `union`.
    pub fn insert(self, field: &str, elements: impl Serialize + Send + 'a) -> Patch<'a> {
        self.with(field, Operation::Insert, elements)
    }

    /// Removes elements from a set, whose rule is `union`.
    pub fn remove(self, field: &str, elements: impl Serialize + Send + 'a) -> Patch<'a> {
        self.with(field, Operation::Remove, elements)
    }

    /// Merges a document into one whose rule is `json`, as RFC 7396 says: members are set, null removes them.
    pub fn merge(self, field: &str, patch: impl Serialize + Send + 'a) -> Patch<'a> {
        self.with(field, Operation::Merge, patch)
    }

    fn with(mut self, field: &str, operation: Operation, value: impl Serialize + Send + 'a) -> Patch<'a> {
        let encode: Encode<'a> = Box::new(move |column| to_field(column, &value));
        self.operations.push((field.to_owned(), operation, encode));
        self
    }

    pub(crate) fn into_fields(self, layout: &Layout) -> Result<Fields, Error> {
        let mut fields = Fields::new();
        for (name, operation, encode) in self.operations {
            let violation =
                |why: String| Error::new(ErrorKind::RuleViolation, format!("{operation:?} of \"{name}\": {why}"));
            let index = layout.index_of(&name).ok_or_else(|| violation("the type has no such member".to_owned()))?;
            let column = &layout.columns[usize::from(index)];
            let rule = match &column.role {
                Role::Field { rule, .. } if operation.suits(rule) => rule,
                Role::Field { rule, .. } => return Err(violation(format!("the field's rule is {rule}"))),
                Role::Key(_) => return Err(violation("it belongs to the key".to_owned())),
                Role::ReadOnly => return Err(violation("only Postgres writes it".to_owned())),
            };
            let unwritable = || format!("the value for \"{name}\" cannot be written");
            let value = encode(column).map_err(|error| Error::caused(ErrorKind::Value, unwritable(), error))?;
            if operation.takes_a_list() && !value.starts_with('[') {
                return Err(violation("the elements must be a list".to_owned()));
            }
            let value = operation.change(value);
            // A set takes several operations, one after the other.
            let before = fields.get(index).filter(|_| *rule == Rule::Union).map(str::to_owned);
            let value = match &before {
                Some(before) => merge::coalesce(rule, (before, Stamp(0)), (&value, Stamp(0)))
                    .ok_or_else(|| violation("it is named with something else, too".to_owned()))?,
                None => value.into(),
            };
            if fields.insert(index, &value) && before.is_none() {
                return Err(violation("it is named twice".to_owned()));
            }
        }
        Ok(fields)
    }
}

impl fmt::Debug for Patch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.operations.iter().map(|(name, operation, _)| (operation, name))).finish()
    }
}

impl Operation {
    fn suits(self, rule: &Rule) -> bool {
        match self {
            Operation::Set => matches!(rule, Rule::Lww | Rule::Arrival | Rule::First | Rule::Function(_)),
            Operation::Add => *rule == Rule::Add,
            Operation::Max => *rule == Rule::Max,
            Operation::Min => *rule == Rule::Min,
            Operation::Append => matches!(rule, Rule::Append { .. }),
            Operation::Insert | Operation::Remove => *rule == Rule::Union,
            Operation::Merge => matches!(rule, Rule::Json(_)),
        }
    }

    fn takes_a_list(self) -> bool {
        matches!(self, Operation::Append | Operation::Insert | Operation::Remove)
    }

    /// What the field's rule takes for the value.
    fn change(self, value: String) -> String {
        match self {
            Operation::Insert => format!("{{\"add\":{value}}}"),
            Operation::Remove => format!("{{\"remove\":{value}}}"),
            _ => value,
        }
    }
}
