//! One error for everything; it answers what callers act on.

use cache_sync_core::sqlstate::{Fault, is_of_definitions};
use std::fmt;
use std::sync::Arc;
use tokio_postgres::error::{DbError, Severity};

/// What went wrong. Cheap to clone: everybody who waited for the same load gets the same error.
///
/// Conflicts, superseded and rejected writes are no errors but [outcomes](crate::Outcome), save where a call has to bring about something else
/// ([`Cache::modify`](crate::Cache::modify)).
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of error it is: for logs and metrics, and for who has to tell many apart. [`Error`] has a question for each that callers act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client is closed, or good for nothing any more: [`Error::is_closed`].
    Closed,
    /// The buffer of unwritten patches is full: [`Error::is_full`].
    Full,
    /// Too many keys wait for a load: [`Error::is_overloaded`].
    Overloaded,
    /// A value would never fit into the buffer: [`Error::is_too_large`].
    TooLarge,
    /// There is no such row: [`Error::is_missing`].
    Missing,
    /// A field's rule cannot express the change: [`Error::is_rule_violation`].
    RuleViolation,
    /// Postgres did not take a write in time: [`Error::is_unwritten`].
    Unwritten,
    /// Others were quicker each time: [`Error::is_conflict`].
    Conflict,
    /// Postgres refused a write: [`Error::is_rejected`].
    Rejected,
    /// Postgres cannot be reached or does not answer: [`Error::is_unavailable`].
    Unavailable,
    /// Postgres refused a statement, for a reason that does not pass by itself: see [`Error::sqlstate`].
    Database,
    /// A setting, a DSN or a statement is wrong.
    Config,
    /// Table and types, or SDK and extension, do not fit each other.
    Mismatch,
    /// A value cannot be read or written.
    Value,
}

/// What is wrong with a pooler that gives a connection's statements to several of the server's.
pub(crate) const NEEDS_SESSIONS: &str =
    "cache_sync needs connections of its own: direct ones, or through a pooler in session mode";

/// What a step was doing when the database answered with an error or not at all.
pub(crate) type Step = &'static str;

/// What is missing then, the hint says.
const NOT_ATTACHED: &str = "CS005";

/// The SQLSTATE of an error that no server has sent.
#[cfg(feature = "in-memory")]
#[derive(Debug, thiserror::Error)]
#[error("SQLSTATE {sqlstate}")]
struct Said {
    sqlstate: &'static str,
    constraint: Option<String>,
}

impl Error {
    /// An error of one's own, for tests of what a service makes of it.
    #[cfg(feature = "in-memory")]
    pub fn made(kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message)
    }

    /// The same, as if Postgres had said it with this SQLSTATE.
    #[cfg(feature = "in-memory")]
    pub fn made_by_postgres(sqlstate: &'static str, message: &str) -> Error {
        Error::saying("a test", sqlstate, message)
    }

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
            Some(db) => match db.hint() {
                Some(hint) if db.code().code() == NOT_ATTACHED => format!("{step}: {}; {hint}", db.message()),
                _ => format!("{step}: {}", db.message()),
            },
            None => format!("{step}: the connection to Postgres failed: {}", root_cause(&source)),
        };
        let kind = match source.code() {
            Some(code) if Fault::of(code.code()).passes() => ErrorKind::Unavailable,
            Some(_) => ErrorKind::Database,
            None => ErrorKind::Unavailable,
        };
        Error::caused(kind, message, source)
    }

    /// Whom a write waits for goes on being tried: nobody knows yet what becomes of it.
    pub(crate) fn unwritten(table: &str, why: &str, cause: Option<&Error>) -> Error {
        let message =
            format!("the write to {table} is not in Postgres yet: {why}; it stays in the buffer and is tried again");
        match cause {
            Some(cause) => Error::caused(ErrorKind::Unwritten, message, cause.clone()),
            None => Error::new(ErrorKind::Unwritten, message),
        }
    }

    /// The same, met on the way to something else.
    pub(crate) fn during(&self, step: Step) -> Error {
        Error::caused(self.0.kind, format!("{step}: {self}"), self.clone())
    }

    /// The buffer has been full for as long as a write waits.
    pub(crate) fn no_room(why: &str, cause: Option<&Error>) -> Error {
        let message = format!("the buffer of unwritten patches is full: {why}");
        match cause {
            Some(cause) => Error::caused(ErrorKind::Full, message, cause.clone()),
            None => Error::new(ErrorKind::Full, message),
        }
    }

    pub(crate) fn timeout(step: Step, after: std::time::Duration) -> Error {
        Error::new(ErrorKind::Unavailable, format!("{step}: no answer within {after:?}"))
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The client was closed.
    pub fn is_closed(&self) -> bool {
        self.0.kind == ErrorKind::Closed
    }

    /// The buffer of unwritten patches is full, and the client was told to refuse rather than to wait, or has waited for as long as it was
    /// told to. The write was not accepted.
    pub fn is_full(&self) -> bool {
        self.0.kind == ErrorKind::Full
    }

    /// More keys wait for a load than the cache lets wait: see [`CacheBuilder::waiting_keys_max`](crate::CacheBuilder::waiting_keys_max).
    pub fn is_overloaded(&self) -> bool {
        self.0.kind == ErrorKind::Overloaded
    }

    /// The value is larger than the whole buffer of unwritten patches may become.
    pub fn is_too_large(&self) -> bool {
        self.0.kind == ErrorKind::TooLarge
    }

    /// The write was accepted, but Postgres did not take it in time. It stays in the buffer and is tried again, so do not repeat it;
    /// [`sqlstate`](Error::sqlstate) and the message say what Postgres answered last.
    pub fn is_unwritten(&self) -> bool {
        self.0.kind == ErrorKind::Unwritten
    }

    /// There is no such row, and the call does not create one.
    pub fn is_missing(&self) -> bool {
        self.0.kind == ErrorKind::Missing
    }

    /// Others changed the row each time that it was tried. Nothing was written.
    pub fn is_conflict(&self) -> bool {
        self.0.kind == ErrorKind::Conflict
    }

    /// Postgres refused the write: a constraint, a policy or a trigger. The message has its SQLSTATE and what it said.
    pub fn is_rejected(&self) -> bool {
        self.0.kind == ErrorKind::Rejected
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
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Overloaded | ErrorKind::Conflict)
    }

    /// What Postgres said, if it was Postgres that said it.
    pub fn sqlstate(&self) -> Option<&str> {
        #[cfg(feature = "in-memory")]
        if let Some(said) = self.said() {
            return Some(said.sqlstate);
        }
        self.db_error().map(|db| db.code().code())
    }

    /// What a database in memory says in Postgres' place.
    #[cfg(feature = "in-memory")]
    pub(crate) fn saying(step: Step, sqlstate: &'static str, message: impl fmt::Display) -> Error {
        Error::saying_of(step, sqlstate, message, None)
    }

    /// The same of a constraint.
    #[cfg(feature = "in-memory")]
    pub(crate) fn saying_of(
        step: Step,
        sqlstate: &'static str,
        message: impl fmt::Display,
        constraint: Option<String>,
    ) -> Error {
        let kind = if Fault::of(sqlstate).passes() { ErrorKind::Unavailable } else { ErrorKind::Database };
        Error::caused(kind, format!("{step}: {message}"), Said { sqlstate, constraint })
    }

    #[cfg(feature = "in-memory")]
    fn said(&self) -> Option<&Said> {
        let source = self.0.source.as_ref()?;
        match source.downcast_ref::<Error>() {
            Some(cause) => cause.said(),
            None => source.downcast_ref::<Said>(),
        }
    }

    /// The name of the constraint that Postgres says is violated.
    pub fn constraint(&self) -> Option<&str> {
        #[cfg(feature = "in-memory")]
        if let Some(said) = self.said() {
            return said.constraint.as_deref();
        }
        self.db_error()?.constraint()
    }

    /// Whether Postgres ended the connection with it, so that it does not say what became of the statement.
    pub(crate) fn is_fatal(&self) -> bool {
        self.db_error().is_some_and(|db| !matches!(db.parsed_severity(), Some(Severity::Error)))
    }

    pub(crate) fn db_error(&self) -> Option<&DbError> {
        let source = self.0.source.as_ref()?;
        match source.downcast_ref::<Error>() {
            Some(cause) => cause.db_error(),
            None => source.downcast_ref::<tokio_postgres::Error>()?.as_db_error(),
        }
    }

    /// As the log says it: without what Postgres or a type says where that may quote a row or a key.
    pub(crate) fn logged(&self) -> impl fmt::Display {
        const LEFT_OUT: &str = "(left out: it may quote a row)";
        let may_quote = |db: &&DbError| {
            let code = db.code().code();
            Fault::of(code).may_be_of_a_row() && !is_of_definitions(code)
        };
        match (self.db_error().filter(may_quote), &self.0.source) {
            (Some(db), _) => self.0.message.replace(db.message(), LEFT_OUT),
            // What a type says of a value that does not fit it.
            (None, Some(source)) if self.0.kind == ErrorKind::Value => {
                self.0.message.replace(&root_cause(&**source), LEFT_OUT)
            }
            (None, _) => self.0.message.clone(),
        }
    }

    /// Whose fault it is, if Postgres said so.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.sqlstate().map(Fault::of)
    }

    /// Whether Postgres was not there to answer.
    pub(crate) fn is_silence(&self) -> bool {
        self.is_unavailable() && matches!(self.fault(), None | Some(Fault::Away | Fault::Login | Fault::WrongServer))
    }

    /// Whether it lasts until somebody does something about it.
    pub(crate) fn is_for_good(&self) -> bool {
        match self.fault() {
            Some(Fault::Away | Fault::Batch | Fault::Session | Fault::WrongServer) => false,
            // Passwords are rotated: who was let in once may be again.
            Some(Fault::Login) => self.0.kind != ErrorKind::Unavailable,
            Some(_) => true,
            None => self.0.kind != ErrorKind::Unavailable,
        }
    }
}

/// What is at the bottom of an error.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_does_not_hear_which_value_does_not_fit() {
        let source = std::io::Error::other("invalid value \"s3cret\"");
        let error = Error::caused(ErrorKind::Value, format!("a row does not fit its type: {source}"), source);
        let logged = error.logged().to_string();
        assert!(error.to_string().contains("s3cret") && !logged.contains("s3cret"), "{logged}");
        assert!(logged.starts_with("a row does not fit its type"), "{logged}");
    }
}
