//! What the examples share: where the database is, a way to run SQL on it, nodes, and how they end.
//!
//! Each example makes its own table in the database that `DATABASE_URL` names, in which `CREATE EXTENSION cache_sync` has
//! been run.
//!
//! ```text
//! node   nodes that keep in step, and close       serve   a router on a port, until ctrl-c
//! ```
#![forbid(unsafe_code)]

mod node;
mod serve;

pub use node::{close, in_step, two_nodes};
pub use serve::serve;

use tokio_postgres::{Client, NoTls};

/// Examples show errors and end.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The connection string in `DATABASE_URL`.
///
/// # Errors
/// It is not set.
pub fn database_url() -> Result<String> {
    std::env::var("DATABASE_URL").map_err(|_| "set DATABASE_URL to a Postgres connection string".into())
}

/// Runs the statements that drop a table of before, if there is one, and make it: each run of a program begins with the same rows. Hands the
/// connection back, for what another program would do.
///
/// # Errors
/// Postgres cannot be reached, or refuses them.
pub async fn make_anew(dsn: &str, statements: &str) -> Result<Client> {
    let sql = plain_sql(dsn).await?;
    sql.batch_execute(statements).await?;
    Ok(sql)
}

/// Runs the statements that make a table, unless it is there: of several processes that do so at a time, one does.
///
/// # Errors
/// Postgres refuses them.
pub async fn make_once(sql: &Client, table: &str, statements: &str) -> Result<()> {
    sql.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(hashtext('cache_sync examples'))").await?;
    let is_there: bool = sql.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.get(0);
    if !is_there {
        sql.batch_execute(statements).await?;
    }
    sql.batch_execute("COMMIT").await.map_err(Into::into)
}

/// A plain connection, as any other program would have.
///
/// # Errors
/// Postgres cannot be reached.
pub async fn plain_sql(dsn: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("the connection failed: {error}");
        }
    });
    Ok(client)
}
