//! What can be cached.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// What a cache holds of a row: a type whose members are columns, read by `Deserialize` and written by `Serialize`. Every type that
/// can be both, and may go from thread to thread, is one.
#[diagnostic::on_unimplemented(message = "`{Self}` must be `Serialize + DeserializeOwned + Send + Sync + 'static`")]
pub trait CacheValue: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<V: Serialize + DeserializeOwned + Send + Sync + 'static> CacheValue for V {}

/// A row as a client sees it: `None` is its known absence.
pub(crate) type Value<V> = Option<Arc<V>>;
