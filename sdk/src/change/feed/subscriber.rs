//! Who is told of changes.

use crate::error::Error;
use crate::meter::ToldAt;
use crate::store::Store;
use cache_sync_core::wire::Change;
use futures_util::future::BoxFuture;
use std::any::TypeId;

/// Who is told of changes.
pub(crate) trait Subscriber: Send + Sync {
    /// A change of the subscriber's table was committed.
    fn tell(&self, change: &Change, told: &ToldAt);
    /// Everything told so far must show from now on.
    fn end_holds(&self);
    /// Nothing that is held may be trusted unseen.
    fn doubt_all(&self);
    /// Whether this is still the table that was opened, with the same hash key. One that is not retires.
    fn check_again<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<bool, Error>>;
}

/// What of a table a subscriber is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// A cache of its rows, of this type.
    Rows(TypeId),
    /// The queries that depend on it.
    Queries,
    /// A caller who wants to hear of its changes, by number.
    Listener(u64),
}
