//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970.
pub(super) fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as i64)
}
