//! Edits by plain SQL, from the page.

use std::time::Duration;

use cache_sync_kit::Result;
use tokio::time::timeout;
use tokio_postgres::error::DbError;

use super::Shared;

/// How long a statement may be.
const LENGTH_MAX: usize = 500;
/// How many run at a time.
pub(crate) const STATEMENTS_MAX: usize = 4;
/// The role has a time-out of its own, which is shorter.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs an UPDATE as a role that may change the shelf's texts and nothing else; returns how many rows it changed. What it takes of the processors
/// and of memory, and which locks it holds on the shelf's rows, is bounded by the role's time-out alone.
pub(crate) async fn run(shared: &Shared, sql: &str) -> Result<u64> {
    let first = sql.split_whitespace().next().unwrap_or_default();
    if !first.eq_ignore_ascii_case("update") {
        return Err("only an UPDATE of shelf is run here".into());
    }
    if sql.len() > LENGTH_MAX {
        return Err(format!("the statement is longer than {LENGTH_MAX} bytes").into());
    }
    let Ok(_place) = shared.statements.try_acquire() else {
        return Err("others' statements are running: try again".into());
    };
    timeout(PATIENCE, execute(shared, sql)).await.map_err(|_| "Postgres does not answer")?
}

async fn execute(shared: &Shared, sql: &str) -> Result<u64> {
    // One of its own, which keeps nothing of what the statement may have set.
    let client = shared.stage.connect_visitor().await.map_err(|_| "Postgres takes no connections now")?;
    // Prepared, it is a single statement.
    let statement = client.prepare(sql).await.map_err(said)?;
    if !statement.columns().is_empty() {
        return Err("the statement must return no rows".into());
    }
    Ok(client.execute(&statement, &[]).await.map_err(said)?)
}

/// What Postgres said, without where in the driver it was heard.
fn said(error: tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), DbError::to_string)
}
