//! The names under which pg_stat_activity shows those who wait for changes, from PostgreSQL 17 on; before that it is `Extension`.

use pgrx::pg_sys;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A feed.
pub(super) fn as_a_feed() -> u32 {
    static EVENT: AtomicU32 = AtomicU32::new(0);
    named(&EVENT, c"CacheSyncFeed")
}

/// A call of `changes()`.
pub(super) fn for_changes() -> u32 {
    static EVENT: AtomicU32 = AtomicU32::new(0);
    named(&EVENT, c"CacheSyncChanges")
}

#[cfg_attr(any(feature = "pg15", feature = "pg16"), expect(unused_variables))]
fn named(kept: &AtomicU32, name: &CStr) -> u32 {
    let event = kept.load(Relaxed);
    if event != 0 {
        return event;
    }
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    // SAFETY: may be called by any backend; it finds the event again by its name.
    let event = unsafe { pg_sys::WaitEventExtensionNew(name.as_ptr()) };
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    let event = pg_sys::PG_WAIT_EXTENSION;
    kept.store(event, Relaxed);
    event
}
