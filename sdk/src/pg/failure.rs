//! How questions over a pool fail.

/// Whether a prepared statement can no longer be used because its table has changed its columns.
pub(super) fn is_plan_outdated(error: &tokio_postgres::Error) -> bool {
    const CACHED_PLAN_CHANGED: &str = "0A000";
    error.code().is_some_and(|code| code.code() == CACHED_PLAN_CHANGED)
}
