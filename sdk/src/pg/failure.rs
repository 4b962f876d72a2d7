//! How questions over a pool fail.

use crate::error::{Error, ErrorKind, Step};
use deadpool_postgres::PoolError;

/// Whether a prepared statement can no longer be used because its table has changed its columns.
pub(super) fn is_plan_outdated(error: &tokio_postgres::Error) -> bool {
    const CACHED_PLAN_CHANGED: &str = "0A000";
    error.code().is_some_and(|code| code.code() == CACHED_PLAN_CHANGED)
}

/// Whether nothing has the name that was asked for.
pub(super) fn is_no_such_table(sqlstate: &str) -> bool {
    matches!(sqlstate, "42P01" | "3F000")
}

/// Whether a statement that fitted the table once no longer does: other columns, other types, no such table.
pub(crate) fn is_misfit(sqlstate: &str) -> bool {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    is_no_such_table(sqlstate) || (sqlstate.starts_with("42") && sqlstate != INSUFFICIENT_PRIVILEGE)
}

/// No connection could be had.
pub(super) fn no_connection(step: Step, error: PoolError) -> Error {
    match error {
        PoolError::Backend(error) if error.as_db_error().is_some() => Error::query(step, error),
        PoolError::Closed => Error::closed(),
        error => Error::caused(ErrorKind::Unavailable, format!("{step}: no connection to Postgres"), error),
    }
}
