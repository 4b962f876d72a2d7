//! Nodes: clients that stand for processes.

use crate::Result;
use cache_sync::Client;
use std::time::Duration;

/// How long a node that ends goes on writing what it has accepted.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Two clients stand for two nodes.
///
/// # Errors
/// Postgres cannot be reached, or has no extension.
pub async fn two_nodes(dsn: &str) -> Result<[Client; 2]> {
    Ok([Client::connect(dsn).await?, Client::connect(dsn).await?])
}

/// Waits until all that these nodes have accepted is in Postgres, and each of them has heard of it.
///
/// # Errors
/// Postgres does not take a write in time, or does not answer.
pub async fn in_step(nodes: &[Client]) -> Result<()> {
    for node in nodes {
        node.flush().await?;
    }
    for node in nodes {
        node.catch_up().await?;
    }
    Ok(())
}

/// Writes what is buffered, and ends these nodes.
///
/// # Errors
/// There are writes that Postgres may not have: a service would keep them, in a file say, instead of losing them.
pub async fn close(nodes: impl IntoIterator<Item = Client>) -> Result<()> {
    let mut left = Vec::new();
    for node in nodes {
        left.extend(node.close(CLOSE_MAX).await?);
    }
    match left.first() {
        None => Ok(()),
        Some(first) => {
            Err(format!("Postgres may not have {} of the writes, the first of them to {}", left.len(), first.table)
                .into())
        }
    }
}
