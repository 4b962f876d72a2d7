//! The ring of a library that was not preloaded: from PostgreSQL 17 on a segment by its name, made by the first backend that needs it.
//!
//! Each makes sure that it has the ring before it notes its first change, so whoever commits a change has it, and there is no other
//! way to tell of it. (Builds before this one NOTIFY there: restart the server.)

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
use super::memory;
use crate::pg::failure::Failure;

/// Makes sure that this process has the ring, where there can be one. To be called before anything that needs it: it may raise
/// errors.
///
/// # Errors
/// When it cannot have it.
#[inline]
pub(crate) fn ensure() -> Result<(), Failure> {
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    if !memory::is_there() {
        return named::adopt_or_make();
    }
    Ok(())
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
mod named {
    use crate::pg::failure::Failure;
    use crate::pg::settings::RING_SIZE_DEFAULT;
    use crate::ring::entry::Entry;
    use crate::ring::layout::{Shared, fill};
    use crate::ring::memory::{NAME, adopt, random_epoch};
    use pgrx::{PgTryBuilder, pg_sys, pg_sys::panic::CaughtError};
    use std::ffi::c_void;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// The same for all builds, or Postgres would refuse one without saying what to do.
    const SIZE: usize = 4 << 20;
    // Without preloading the settings that size it are not there, and their defaults hold.
    const _: () = assert!(size_of::<Shared>() + RING_SIZE_DEFAULT as usize * size_of::<Entry>() <= SIZE);
    /// The epoch, in case it is this process that makes the segment.
    static EPOCH: AtomicU64 = AtomicU64::new(0);

    #[cold]
    pub(super) fn adopt_or_make() -> Result<(), Failure> {
        // While the segment is being made nothing may fail, so this is done before.
        EPOCH.store(random_epoch(), Relaxed);
        let segment = PgTryBuilder::new(|| {
            let mut found = false;
            // SAFETY: a segment of this name is ours; it is aligned to 128 bytes at least.
            Ok(unsafe { pg_sys::GetNamedDSMSegment(NAME.as_ptr(), SIZE, Some(make), &mut found) })
        })
        .catch_others(|error| match error {
            CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => Err(failure(report.message())),
            panic @ CaughtError::RustPanic { .. } => panic.rethrow(),
        })
        .execute()?;
        // SAFETY: it was filled by `make` of this build or another one.
        unsafe { adopt(segment.cast()) }
    }

    fn failure(message: &str) -> Failure {
        Failure::new(b"53200", format!("cache_sync cannot have its shared memory: {message}"))
            .hint("Let the system have more shared memory, or add cache_sync to shared_preload_libraries and restart the server.")
    }

    unsafe extern "C-unwind" fn make(memory: *mut c_void) {
        // SAFETY: Postgres calls this once, with memory of the size that was asked for, before others see it. What `fill` calls
        // of Postgres raises no errors.
        unsafe {
            memory.cast::<u8>().write_bytes(0, size_of::<Shared>());
            fill(memory.cast(), EPOCH.load(Relaxed));
        }
    }
}
