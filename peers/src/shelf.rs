//! How a row lies in Redis: as JSON, under its key, for a while.

use std::sync::Arc;
use std::time::Duration;

use cache_sync_kit::Result;

use crate::record::Record;

const PREFIX: &str = "record:";
/// How long one waits for Redis. The client's default of half a second is less than a busy machine may take.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Under which name a row lies.
pub(crate) fn name(key: i64) -> String {
    format!("{PREFIX}{key}")
}

/// Whose name it is.
pub(crate) fn key(name: &[u8]) -> Option<i64> {
    std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?.parse().ok()
}

pub(crate) fn encode(record: &Record) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(record)?)
}

pub(crate) fn decode(json: &[u8]) -> Result<Arc<Record>> {
    Ok(Arc::new(serde_json::from_slice(json)?))
}

/// A time to live as Redis takes it.
pub(crate) fn milliseconds(time: Duration) -> Result<u64> {
    Ok(u64::try_from(time.as_millis())?)
}
