//! What a node does, by one of the two ways.
//!
//! ```text
//! ours   the SDK         redis   cache-aside with a time to live
//! ```

pub(crate) mod ours;
pub(crate) mod redis;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cache_sync_kit::Result;

/// The rows that are read and written at a rate.
pub(crate) const ROWS: u32 = 10_000;
/// The rows that the visitor edits; a program changes the first of them all the time.
pub(crate) const SHELF: std::ops::RangeInclusive<i64> = 10_001..=10_005;

/// What a read brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// What the row's column `version` says.
    pub(crate) version: i64,
    /// A cache answered.
    pub(crate) hit: bool,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) loads: u64,
    pub(crate) batches: u64,
    /// Not a sum: what waits now.
    pub(crate) buffered: u64,
}

/// A way to read and write rows.
pub(crate) trait Side: Send + Sync + 'static {
    /// Reads a row.
    fn read(&self, id: i64) -> impl Future<Output = Result<Seen>> + Send;

    /// Adds 1 to a row's counter.
    fn add(&self, id: i64) -> impl Future<Output = Result<()>> + Send;

    /// Writes the text of a row of the shelf and waits until Postgres has confirmed it.
    fn edit(&self, id: i64, text: String) -> impl Future<Output = Result<()>> + Send;

    /// Tells how the rows of the shelf are shown, for as long as the node lives.
    fn follow(self: Arc<Self>) -> impl Future<Output = Result<()>> + Send;

    /// Has what keeps rows for a time keep them for so long from now on.
    fn keep_for(&self, time_to_live: Duration) -> impl Future<Output = Result<()>> + Send;

    fn sent(&self) -> Sent;
}
