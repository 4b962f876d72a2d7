//! The ring of a library that was not preloaded: from PostgreSQL 17 on a segment by its name, made by the first backend that needs it.
//!
//! A server in single-user mode has no such memory, and nobody to share it with: there it is the process' own.
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
    use std::alloc::{Layout, alloc};
    use std::ffi::c_void;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// The same for all builds, or Postgres would refuse one without saying what to do.
    const SIZE: usize = 4 << 20;
    // Without preloading the settings that size it are not there, and their defaults hold.
    const _: () = assert!(size_of::<Shared>() + RING_SIZE_DEFAULT as usize * size_of::<Entry>() <= SIZE);
    const LAYOUT: Layout = match Layout::from_size_align(SIZE, align_of::<Shared>()) {
        Ok(layout) => layout,
        Err(_) => panic!("the size is no multiple of the alignment"),
    };
    /// The epoch, in case it is this process that makes the segment.
    static EPOCH: AtomicU64 = AtomicU64::new(0);

    #[cold]
    pub(super) fn adopt_or_make() -> Result<(), Failure> {
        // While the segment is being made nothing may fail, so this is done before.
        EPOCH.store(random_epoch(), Relaxed);
        // SAFETY: a plain read of a variable that a process has from its start.
        if !unsafe { pg_sys::IsUnderPostmaster } {
            return take_own();
        }
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

    fn take_own() -> Result<(), Failure> {
        // SAFETY: the layout has a size; memory of it that nobody else has seen is filled and never given back.
        unsafe {
            let memory = alloc(LAYOUT);
            if memory.is_null() {
                return Err(failure("out of memory"));
            }
            make(memory.cast());
            adopt(memory.cast())
        }
    }

    fn failure(message: &str) -> Failure {
        Failure::new(b"53200", format!("cache_sync cannot have its shared memory: {message}"))
            .hint("Let the system have more shared memory, or add cache_sync to shared_preload_libraries and restart the server.")
    }

    unsafe extern "C-unwind" fn make(memory: *mut c_void) {
        // SAFETY: this is called once, with memory of that size, before others see it. It may hold anything, and of the entries those
        // may be read, too, that were never written: a commit that cannot tell its changes moves the head over them. What `fill` calls
        // of Postgres raises no errors.
        unsafe {
            memory.cast::<u8>().write_bytes(0, SIZE);
            fill(memory.cast(), EPOCH.load(Relaxed));
        }
    }
}
