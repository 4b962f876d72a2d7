//! State of this backend.

use pgrx::pg_sys;
use std::ops::Deref;
use std::ptr::null_mut;

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

/// Whether this backend LISTENs to any channel. The backend's list of channels is Postgres' own; its function for SQL is asked,
/// which answers with the first row, or with none.
pub(crate) fn listens() -> bool {
    // SAFETY: the function is built in and called as the executor calls one that returns rows one by one; what it registers with
    // the context is undone with it.
    unsafe {
        let mut function = pg_sys::FmgrInfo::default();
        pg_sys::fmgr_info(pg_sys::F_PG_LISTENING_CHANNELS.into(), &mut function);
        let context = pg_sys::CreateStandaloneExprContext();
        let mut rows = pg_sys::ReturnSetInfo {
            type_: pg_sys::NodeTag::T_ReturnSetInfo,
            econtext: context,
            allowedModes: pg_sys::SetFunctionReturnMode::SFRM_ValuePerCall as i32,
            ..Default::default()
        };
        let mut call = pg_sys::FunctionCallInfoBaseData {
            flinfo: &mut function,
            resultinfo: (&raw mut rows).cast(),
            context: null_mut(),
            ..Default::default()
        };
        pg_sys::pg_listening_channels(&mut call);
        pg_sys::FreeExprContext(context, true);
        rows.isDone != pg_sys::ExprDoneCond::ExprEndResult
    }
}

/// Whether the transaction reads everything as it was when it began.
pub(crate) fn reads_as_it_began() -> bool {
    // SAFETY: a plain read of the transaction's isolation level.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}
