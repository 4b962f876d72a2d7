//! State of this backend.

use pgrx::pg_sys;
use std::ops::Deref;

/// A static of this backend, whose state is never dropped: when a backend exits, there is no Postgres left that could free
/// what it holds. Thread-local variables of a library cost a call each time they are used; a backend has one thread, so
/// what only it uses needs none.
pub(crate) struct OfBackend<T>(T);

impl<T> OfBackend<T> {
    /// The state at the backend's start.
    pub(crate) const fn new(state: T) -> OfBackend<T> {
        OfBackend(state)
    }
}

// SAFETY: Postgres runs a backend in one thread, and this library starts none.
unsafe impl<T> Sync for OfBackend<T> {}

impl<T> Deref for OfBackend<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Whether the transaction reads everything as it was when it began.
pub(crate) fn reads_as_it_began() -> bool {
    // SAFETY: a plain read of the transaction's isolation level.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}
