//! What turns a connection into a feed.

use cache_sync_core::number::{Epoch, Position};

/// Where a feed goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
}

/// The statement that turns a connection into a feed.
pub(crate) fn stream_statement(tables: &[i32], since: Option<Since>) -> String {
    let tables: Vec<_> = tables.iter().map(i32::to_string).collect();
    let (epoch, position) = match since {
        Some(Since { epoch, position }) => ((epoch.0 as i64).to_string(), (position.0 as i64).to_string()),
        None => ("NULL".to_owned(), "NULL".to_owned()),
    };
    format!("CALL cache_sync.stream('{{{}}}'::int[], {epoch}, {position})", tables.join(","))
}

/// Turns a connection into a listener of a server without a feed in shared memory.
pub(crate) const LISTEN: &str = "LISTEN cache_sync";

/// Whether the tables may be read, and the server's epoch and clock. The answer comes behind what was notified before.
pub(crate) const LISTEN_STATE: &str = "SELECT epoch, hlc FROM cache_sync.listen_state($1)";
