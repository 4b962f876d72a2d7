//! Which column did not fit, its type, and what was wanted.

use postgres_types::Type;
use serde::de::{Expected, Unexpected};
use std::fmt;

/// A value that does not fit the member that was to hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DecodeError(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    column: Option<(String, String)>,
    message: String,
    /// The type in Rust of the member.
    member: Option<&'static str>,
    /// No value of the column's type would have fitted.
    of_type: bool,
    /// The column itself is null, and no part of its value.
    is_null: bool,
}

impl DecodeError {
    pub(crate) fn new(message: impl fmt::Display) -> DecodeError {
        let message = message.to_string();
        DecodeError(Box::new(Inner { column: None, member: None, message, of_type: false, is_null: false }))
    }

    /// Which column it is, and whether it is null: what may be told to anybody, as it has nothing of the value.
    pub(crate) fn place(&self) -> Option<String> {
        let (column, _) = self.0.column.as_ref()?;
        let what = if self.0.is_null {
            "is null, and its member is no Option"
        } else {
            "has a value that its member cannot be"
        };
        Some(format!("column \"{column}\" {what}"))
    }

    /// Whether it is the type that does not fit, rather than the value.
    pub(crate) fn is_of_type(&self) -> bool {
        self.0.of_type
    }

    /// What is wrong, without where.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// The type of the member that was to hold it, with its path; none where it is no member's fault.
    pub(crate) fn member(&self) -> Option<&'static str> {
        self.0.member
    }

    pub(crate) fn of_member(mut self, rust: &'static str) -> DecodeError {
        self.0.member = Some(rust);
        self
    }

    /// The column is null.
    pub(crate) fn of_null(mut self) -> DecodeError {
        self.0.is_null = true;
        self
    }

    /// The innermost column stays: it is the one at fault.
    pub(crate) fn at(mut self, column: &str, ty: &Type) -> DecodeError {
        self.0.column.get_or_insert_with(|| (column.to_owned(), ty.to_string()));
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.column {
            Some((column, ty)) => write!(f, "column \"{column}\" ({ty}): {}", self.0.message),
            None => f.write_str(&self.0.message),
        }
    }
}

impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> DecodeError {
        DecodeError::new(message)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> DecodeError {
        let mut error = DecodeError::new(format_args!("invalid type: {found}, expected {expected}"));
        error.0.of_type = true;
        error
    }
}
