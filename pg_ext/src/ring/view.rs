//! What there is to see of the ring: who listens, and what is counted.

use super::failing::FailedSession;
use super::listeners::ListenerState;
use super::memory::shared;
use super::stats::{FeedCounts, Name, TableCounts};
use cache_sync_ring::is_armed;
use pgrx::pg_sys;

/// How many listeners there are.
pub(crate) fn listeners_count() -> u32 {
    shared().map_or(0, |shared| shared.listeners.0.count())
}

/// What one can see of all listeners.
pub(crate) fn listeners() -> Vec<ListenerState> {
    shared().map_or_else(Vec::new, |shared| shared.listeners.0.states(|index| is_armed(shared, index)))
}

/// The counts of the whole server.
pub(crate) fn feed() -> FeedCounts {
    shared().map_or_else(FeedCounts::default, |shared| shared.stats.0.of_server(shared.commits.0.changes()))
}

/// The counts of this database's tables, under this extension of those that it has had.
pub(crate) fn tables(incarnation: u32) -> Vec<TableCounts> {
    shared().map_or_else(Vec::new, |shared| shared.stats.0.of_tables(database(), incarnation))
}

/// The sessions of this database, under this extension, whose batches failed last.
pub(crate) fn failed_sessions(incarnation: u32) -> Vec<FailedSession> {
    shared().map_or_else(Vec::new, |shared| shared.failing.0.of_database(database(), incarnation))
}

/// Counts a table anew.
pub(crate) fn reset_table(name: Name) {
    if let Some(shared) = shared() {
        shared.stats.0.reset_table(name);
    }
}

/// Counts anew what is counted of the whole server.
pub(crate) fn reset_server() {
    if let Some(shared) = shared() {
        shared.stats.0.reset_server(shared.commits.0.changes());
    }
}

fn database() -> pg_sys::Oid {
    // SAFETY: a plain read of the number of the database that this backend is connected to.
    unsafe { pg_sys::MyDatabaseId }
}
