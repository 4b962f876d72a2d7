//! A connection to a database that nobody has to drive.

use tokio_postgres::{Client, Error, NoTls};

/// Connects; the connection is driven until the client is dropped.
///
/// # Errors
/// The server does not take it.
pub async fn connect(dsn: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await?;
    // When the server goes away the client's next call says so.
    tokio::spawn(async move { connection.await.is_ok() });
    Ok(client)
}
