//! A lock in shared memory, of Postgres' kind.

use pgrx::pg_sys;
use std::cell::UnsafeCell;

// Postgres' functions without pgrx's guard, for the commit callback: none of them raises an error there.
unsafe extern "C-unwind" {
    fn LWLockAcquire(lock: *mut pg_sys::LWLock, mode: pg_sys::LWLockMode::Type) -> bool;
    fn LWLockRelease(lock: *mut pg_sys::LWLock);
}

/// Zeroed memory is none yet.
#[repr(transparent)]
pub(super) struct Lock(UnsafeCell<pg_sys::LWLock>);

impl Lock {
    /// Makes it one of this kind, before anybody takes it.
    pub(super) fn initialize(&self, tranche: i32) {
        // SAFETY: the lock lies in shared memory that nobody else has seen yet.
        unsafe { pg_sys::LWLockInitialize(self.0.get(), tranche) };
    }

    /// Runs `body` under the lock; it must do nothing but copy memory.
    pub(super) fn locked<T>(&self, mode: pg_sys::LWLockMode::Type, body: impl FnOnce() -> T) -> T {
        let lock = self.0.get();
        // SAFETY: the lock was initialized with the memory that it lies in. LWLockAcquire fails only when the backend holds 200
        // locks; between acquire and release nothing can fail, for the bodies copy memory.
        unsafe {
            LWLockAcquire(lock, mode);
            let result = body();
            LWLockRelease(lock);
            result
        }
    }
}
