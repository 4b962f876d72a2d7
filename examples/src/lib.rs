//! What the examples share: where the database is, and a way to run SQL on it.
//!
//! Each example makes its own table in the database that `DATABASE_URL` names, in which `CREATE EXTENSION cache_sync` has
//! been run.
#![forbid(unsafe_code)]

use axum::Router;
use std::time::Duration;
use tokio::net::TcpListener;
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

/// Serves on a free port of this machine, which it prints, until ctrl-c; then it writes what is buffered.
///
/// # Errors
/// There is no port, or the client cannot be closed.
pub async fn serve(router: Router, client: &cache_sync::Client) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    tokio::select! {
        ended = axum::serve(listener, router) => ended?,
        _ = tokio::signal::ctrl_c() => {}
    }
    // It ends whoever watches, too.
    client.close(Duration::from_secs(5)).await?;
    Ok(())
}
