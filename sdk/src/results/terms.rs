//! How results may be served: no part of which result it is.

use std::time::Duration;

/// What a caller takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// Nothing that is older, though nothing has changed.
    pub(crate) max_age: Option<Duration>,
    /// What has changed since, as long as it is not older.
    pub(crate) min_refresh: Duration,
    /// It is loaded again once it has changed, without waiting for the next reader.
    pub(crate) refresh_on_change: bool,
}
