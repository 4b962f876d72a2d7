//! What a client does with each of its tables, whatever their types.

use crate::receipt::{Receipt, Unwritten};
use crate::status::CacheStatus;

/// What a client does with each of its tables, whatever their types.
pub(crate) trait CacheTable: Send + Sync {
    /// Asks for a flush and returns receipts for all that is pending.
    fn flush_now(&self) -> Vec<Receipt>;
    /// Lets everybody go who waits for the table's tasks.
    fn abandon(&self);
    /// It is not the table any more that was opened, so that another cache may take its place.
    fn is_retired(&self) -> bool;
    /// Nobody has a handle of the cache any more: it goes once all is written.
    fn is_left(&self) -> bool;
    /// Takes everything that Postgres does not have, for people.
    fn take_unwritten(&self) -> Vec<Unwritten>;
    fn status(&self) -> CacheStatus;
}
