//! What the examples share: where the database is, and a way to run SQL on it.
//!
//! Each example makes its own table in the database that `DATABASE_URL` names, in which `CREATE EXTENSION cache_sync` has
//! been run.
#![forbid(unsafe_code)]

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
