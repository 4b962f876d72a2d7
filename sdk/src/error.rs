//! One error for everything; it answers what callers act on.

use std::fmt;
use std::sync::Arc;
use tokio_postgres::error::Severity;

/// What went wrong. Cheap to clone: everybody who waited for the same load gets the same error.
///
/// Conflicts, superseded and rejected writes are no errors but [outcomes](crate::Outcome).
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Closed,
    Full,
    Missing,
    RuleViolation,
    Unavailable,
    Database,
    Config,
    Mismatch,
    Value,
}

/// What is wrong with a pooler that gives a connection's statements to several of the server's.
pub(crate) const NEEDS_SESSIONS: &str =
    "cache_sync needs connections of its own: direct ones, or through a pooler in session mode";

/// What a step was doing when the database answered with an error or not at all.
pub(crate) type Step = &'static str;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, message: message.into(), source: None }))
    }

    pub(crate) fn caused(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        Error(Arc::new(Inner { kind, message: message.into(), source: Some(Box::new(source)) }))
    }

    pub(crate) fn closed() -> Error {
        Error::new(ErrorKind::Closed, "the client is closed")
    }

    /// A query failed: by the server's word if it has an SQLSTATE, else because the connection did.
    pub(crate) fn query(step: Step, source: tokio_postgres::Error) -> Error {
        let message = match source.as_db_error() {
            // A prepared statement is not there, or already: another of the server's connections was given to us.
            Some(db) if ["26000", "42P05"].contains(&db.code().code()) => {
                format!("{step}: {}; {NEEDS_SESSIONS}", db.message())
            }
            Some(db) => format!("{step}: {}", db.message()),
            None => format!("{step}: the connection to Postgres failed"),
        };
        let kind = match source.code() {
            Some(code) if is_outage(code.code()) => ErrorKind::Unavailable,
            Some(_) => ErrorKind::Database,
            None => ErrorKind::Unavailable,
        };
        Error::caused(kind, message, source)
    }

    pub(crate) fn timeout(step: Step, after: std::time::Duration) -> Error {
        Error::new(ErrorKind::Unavailable, format!("{step}: no answer within {after:?}"))
    }

    /// The client was closed.
    pub fn is_closed(&self) -> bool {
        self.0.kind == ErrorKind::Closed
    }

    /// The buffer of unwritten patches is full, and the client was told to refuse rather than to wait.
    pub fn is_full(&self) -> bool {
        self.0.kind == ErrorKind::Full
    }

    /// There is no such row, and the call does not create one.
    pub fn is_missing(&self) -> bool {
        self.0.kind == ErrorKind::Missing
    }

    /// The change cannot be expressed by the field's rule (lowering a `max`, say), or touches the key.
    pub fn is_rule_violation(&self) -> bool {
        self.0.kind == ErrorKind::RuleViolation
    }

    /// Postgres cannot be reached or is not up.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }

    /// The same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Full)
    }

    /// What Postgres said, if it was Postgres that said it.
    pub fn sqlstate(&self) -> Option<&str> {
        self.db_error().map(|db| db.code().code())
    }

    /// Whether Postgres ended the connection with it, so that it does not say what became of the statement.
    pub(crate) fn is_fatal(&self) -> bool {
        self.db_error().is_some_and(|db| !matches!(db.parsed_severity(), Some(Severity::Error)))
    }

    pub(crate) fn db_error(&self) -> Option<&tokio_postgres::error::DbError> {
        self.0.source.as_ref()?.downcast_ref::<tokio_postgres::Error>()?.as_db_error()
    }
}

/// Classes after which the same statement may succeed: connection, resources, operator intervention, system, and the
/// transaction rollbacks.
pub(crate) fn is_outage(sqlstate: &str) -> bool {
    // A lock that did not come in time is no fault of the table's, either.
    sqlstate == "55P03" || ["08", "40", "53", "57", "58", "XX"].iter().any(|class| sqlstate.starts_with(class))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}
