//! What tower-sessions hears of an error, and its log has of it. What Postgres says of a row may quote it, and a session is a secret: so only what names
//! kind and place.

use cache_sync::{Error, Outcome, Verdict};
use tower_sessions_core::session_store;

/// Something in words of ours.
pub(crate) fn backend(what: &str) -> session_store::Error {
    session_store::Error::Backend(what.to_owned())
}

/// An error of a call.
pub(crate) fn failed(error: Error) -> session_store::Error {
    let what = format!("cache_sync failed: {:?}", error.kind());
    backend(&with_place(what, error.sqlstate(), error.constraint(), None))
}

/// # Errors
/// The row is there, and does not say what was written.
pub(crate) fn found_or_gone(outcome: &Outcome) -> session_store::Result<()> {
    if outcome.verdict == Some(Verdict::Missing) { Ok(()) } else { written(outcome) }
}

/// # Errors
/// The row does not say what was written.
pub(crate) fn written(outcome: &Outcome) -> session_store::Result<()> {
    if outcome.is_written() {
        return Ok(());
    }
    let what = match outcome.verdict {
        Some(verdict) => format!("the session is not written: {verdict:?}"),
        None => "nobody can say any more whether the session is written".to_owned(),
    };
    Err(backend(&with_place(what, outcome.sqlstate.as_deref(), outcome.constraint.as_deref(), outcome.dead_letter)))
}

fn with_place(mut what: String, sqlstate: Option<&str>, constraint: Option<&str>, dead_letter: Option<i64>) -> String {
    let number = dead_letter.map(|number| number.to_string());
    for (name, value) in [("SQLSTATE", sqlstate), ("constraint", constraint), ("dead letter", number.as_deref())] {
        if let Some(value) = value {
            what = format!("{what}, {name} {value}");
        }
    }
    what
}
