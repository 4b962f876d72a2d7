//! What all peers have in common.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cache_sync_kit::Result;

use crate::record::{Record, Write};

/// One node's way to the rows. Cloning is not needed: tasks share it.
pub trait Peer: Send + Sync + 'static {
    /// For how long after a write was committed its reads may still bring what was there before, as its makers state it.
    /// `None`: nobody states anything.
    fn stale_at_most(&self) -> Option<Duration>;

    /// The row of a key, as this peer sees it.
    fn read(&self, key: i64) -> impl Future<Output = Result<Option<Arc<Record>>>> + Send;

    /// Writes; afterwards the write is confirmed.
    fn write(&self, write: Write<'_>) -> impl Future<Output = Result<Written>> + Send;

    /// Waits until all that was confirmed is in Postgres.
    fn settle(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// How many statements were sent to Postgres for reads and writes so far.
    fn statements(&self) -> u64;
}

/// Where a write is that was confirmed.
pub enum Written {
    /// In Postgres.
    Committed,
    /// In a buffer. The future ends once it is in Postgres.
    Buffered(Pin<Box<dyn Future<Output = Result<()>> + Send>>),
}
