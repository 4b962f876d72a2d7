//! Values that no patch can carry.

use cache_sync_core::rule::Rule;
use std::fmt;

/// A member with a value that Postgres cannot take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncodeError(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    member: Option<String>,
    message: String,
}

impl EncodeError {
    pub(crate) fn new(message: impl fmt::Display) -> EncodeError {
        EncodeError(Box::new(Inner { member: None, message: message.to_string() }))
    }

    pub(crate) fn at(mut self, member: &str) -> EncodeError {
        self.0.member.get_or_insert_with(|| member.to_owned());
        self
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.member {
            Some(member) => write!(f, "member \"{member}\": {}", self.0.message),
            None => f.write_str(&self.0.message),
        }
    }
}

impl std::error::Error for EncodeError {}

impl serde::ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> EncodeError {
        EncodeError::new(message)
    }
}

/// A change that no patch can express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleViolation {
    /// The member that changed.
    pub(crate) member: String,
    /// Its rule; none for members that cannot be written, which are those of the key and those that Postgres computes.
    pub(crate) rule: Option<Rule>,
    /// The value before, as JSON, cut short.
    pub(crate) from: String,
    /// The value after, as JSON, cut short.
    pub(crate) to: String,
}

impl RuleViolation {
    pub(super) fn new(member: &str, rule: Option<Rule>, from: Option<&str>, to: &str) -> RuleViolation {
        let from = from.unwrap_or("null");
        RuleViolation { member: member.to_owned(), rule, from: shorten(from), to: shorten(to) }
    }
}

impl fmt::Display for RuleViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RuleViolation { member, from, to, .. } = self;
        match &self.rule {
            Some(rule) => write!(f, "the rule {rule} of \"{member}\" cannot make {to} out of {from}"),
            None => write!(f, "\"{member}\" cannot be written, but changed from {from} to {to}"),
        }
    }
}

impl std::error::Error for RuleViolation {}

fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
