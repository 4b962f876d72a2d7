//! What can be cached.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Deref;
use std::sync::Arc;

/// What a cache holds of a row: a type whose members are columns, read by `Deserialize` and written by `Serialize`. Every type that
/// can be both, and may go from thread to thread, is one.
///
/// Whoever lets go of the last [`Arc`] of a value runs its `Drop`, if it has one: that may be any call of a cache, or a task of its client,
/// and a lock of the cache may be held. So a `Drop` must neither call the cache nor wait for anybody who does, and should not panic.
#[diagnostic::on_unimplemented(message = "`{Self}` must be `Serialize + DeserializeOwned + Send + Sync + 'static`")]
pub trait CacheValue: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<V: Serialize + DeserializeOwned + Send + Sync + 'static> CacheValue for V {}

/// A row as a client sees it: `None` is its known absence.
pub(crate) type Value<V> = Option<Row<V>>;

/// A row, and how many bytes it has: as Postgres sent it, or as it is written.
#[derive(Debug)]
pub(crate) struct Row<V> {
    pub(crate) value: Arc<V>,
    pub(crate) bytes: u32,
    /// What tells two rows apart that Postgres sent; 0: this is none.
    pub(crate) digest: u32,
}

impl<V> Row<V> {
    pub(crate) fn new(value: V, bytes: usize) -> Row<V> {
        Row { value: Arc::new(value), bytes: u32::try_from(bytes).unwrap_or(u32::MAX), digest: 0 }
    }
}

impl<V> Clone for Row<V> {
    fn clone(&self) -> Row<V> {
        Row { value: self.value.clone(), ..*self }
    }
}

impl<V> Deref for Row<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}
