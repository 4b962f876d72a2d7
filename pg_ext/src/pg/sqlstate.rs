//! Keeps SQLSTATEs that users made up. pgrx turns every code that Postgres does not define into XX000, but Postgres
//! asks the error context callbacks before an error leaves the place where it arose, and they may ask for its code.

use super::backend::OfBackend;
use super::failure::{Failure, Origin};
use pgrx::PgTryBuilder;
use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use pgrx::{pg_guard, pg_sys};
use std::cell::Cell;
use std::panic::AssertUnwindSafe;

static LAST: OfBackend<Cell<i32>> = OfBackend::new(Cell::new(0));

/// Our place among the error context callbacks, given up when dropped, also when an error passes through.
struct Noting(Box<pg_sys::ErrorContextCallback>);

impl Noting {
    fn start() -> Noting {
        LAST.set(0);
        // SAFETY: the callbacks are a list whose head is a plain variable. Ours stays where it is, boxed, until it is
        // taken off the list.
        unsafe {
            let mut callback = Box::new(pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(note),
                arg: std::ptr::null_mut(),
            });
            pg_sys::error_context_stack = &mut *callback;
            Noting(callback)
        }
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        // SAFETY: whatever was put on the list after us was taken off before.
        unsafe { pg_sys::error_context_stack = self.0.previous };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn note(_arg: *mut std::ffi::c_void) {
    // SAFETY: Postgres calls this while it makes up an error (or a notice).
    LAST.set(unsafe { pg_sys::geterrcode() });
}

/// The report of a caught error.
pub(crate) fn report(caught: &CaughtError) -> &ErrorReportWithLevel {
    match caught {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => report,
        CaughtError::RustPanic { ereport, .. } => ereport,
    }
}

/// The SQLSTATE of a caught error, inside [`preserving`].
pub(crate) fn of(caught: &CaughtError) -> [u8; 5] {
    let known = report(caught).sql_error_code() as i32;
    let internal = pg_sys::errcodes::PgSqlErrorCode::ERRCODE_INTERNAL_ERROR as i32;
    let is_postgres = matches!(caught, CaughtError::PostgresError(_));
    let code = if is_postgres && known == internal && LAST.get() != 0 { LAST.get() } else { known };
    std::array::from_fn(|place| ((code >> (6 * place)) & 0x3f) as u8 + b'0')
}

/// Runs `body`; an error comes back as a failure with its own code, and without the backtrace that pgrx adds to it.
///
/// # Errors
/// Those of `body`, and the errors that Postgres raises in it.
pub(crate) fn preserving<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let _noting = Noting::start();
    PgTryBuilder::new(AssertUnwindSafe(body))
        .catch_others(|caught| {
            if matches!(caught, CaughtError::RustPanic { .. }) {
                caught.rethrow();
            }
            let code = of(&caught);
            let report = report(&caught);
            let origin = Origin::new(report.file(), report.line_number(), report.function_name());
            let mut failure = Failure::new(&code, report.message()).from(origin);
            if let Some(detail) = report.detail() {
                failure = failure.detail(detail);
            }
            if let Some(hint) = report.hint() {
                failure = failure.hint(hint);
            }
            Err(failure)
        })
        .execute()
}
