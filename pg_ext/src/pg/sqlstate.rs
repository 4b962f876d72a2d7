//! Keeps what pgrx forgets of errors: SQLSTATEs that users made up, which it turns into XX000, and the names of the constraint, table,
//! column and type that an error is about. Postgres asks the error context callbacks before an error leaves the place where it arose,
//! and they may look at it.

use super::backend::OfBackend;
use super::failure::{Failure, Names, Origin};
use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use pgrx::{PgLogLevel, PgSqlErrorCode, PgTryBuilder};
use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::{CStr, c_char};
use std::panic::AssertUnwindSafe;

/// How many errors are remembered: an error may be caught, others may come and be caught, and then it is raised again.
const NOTED_MAX: usize = 64;

/// Errors of which pgrx forgets something, the latest last. An error that is raised again does not ask the callbacks again.
static NOTED: OfBackend<RefCell<VecDeque<Noted>>> = OfBackend::new(RefCell::new(VecDeque::new()));
/// How many of [`preserving`] are under way, one in the other.
static DEPTH: OfBackend<Cell<usize>> = OfBackend::new(Cell::new(0));

struct Noted {
    message: String,
    code: i32,
    names: Names,
}

/// Our place among the error context callbacks, given up when dropped, also when an error passes through.
struct Noting(Box<pg_sys::ErrorContextCallback>);

impl Noting {
    fn start() -> Noting {
        DEPTH.set(DEPTH.get() + 1);
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
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 {
            NOTED.borrow_mut().clear();
        }
    }
}

/// Whether pgrx has no name for a code.
fn is_made_up(code: i32) -> bool {
    let internal = PgSqlErrorCode::ERRCODE_INTERNAL_ERROR;
    code != internal as i32 && PgSqlErrorCode::from(code) == internal
}

#[pg_guard]
unsafe extern "C-unwind" fn note(_arg: *mut std::ffi::c_void) {
    // SAFETY: Postgres calls this while it makes up an error (or a notice), which it copies into the memory of the transaction: in its own
    // memory for errors it takes no copies.
    unsafe {
        let code = pg_sys::geterrcode();
        if is_passed_over(code) || pg_sys::TopTransactionContext.is_null() {
            return;
        }
        let _back = Back(pg_sys::CurrentMemoryContext);
        pg_sys::CurrentMemoryContext = pg_sys::TopTransactionContext;
        let error = pg_sys::CopyErrorData();
        if (*error).elevel >= PgLogLevel::ERROR as i32
            && let Some(message) = owned((*error).message)
        {
            let names = Names {
                schema: owned((*error).schema_name),
                table: owned((*error).table_name),
                column: owned((*error).column_name),
                datatype: owned((*error).datatype_name),
                constraint: owned((*error).constraint_name),
            };
            // One without names may say the same as one that was caught: it must not be taken for that.
            if is_made_up(code) || names.any() || is_noted(&message) {
                remember(Noted { message: message.into(), code, names });
            }
        }
        pg_sys::FreeErrorData(error);
    }
}

/// Notices and warnings; and where there is no memory left, or no stack, none is taken.
fn is_passed_over(code: i32) -> bool {
    let class: [u8; 2] = std::array::from_fn(|place| ((code >> (6 * place)) & 0x3f) as u8 + b'0');
    matches!(&class, b"00" | b"01" | b"53") || code == PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX as i32
}

/// The memory context to go back to, also when an error passes through.
struct Back(pg_sys::MemoryContext);

impl Drop for Back {
    fn drop(&mut self) {
        // SAFETY: it was the current one when this was called, and whoever called is still at work in it.
        unsafe { pg_sys::CurrentMemoryContext = self.0 };
    }
}

/// A string of Postgres'.
///
/// # Safety
/// It must be null or end in a zero byte.
unsafe fn owned(text: *const c_char) -> Option<Box<str>> {
    // SAFETY: the caller vouches for it.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into())
}

fn is_noted(message: &str) -> bool {
    NOTED.borrow().iter().any(|noted| noted.message == message)
}

fn remember(error: Noted) {
    let mut noted = NOTED.borrow_mut();
    if noted.len() == NOTED_MAX {
        noted.pop_front();
    }
    noted.push_back(error);
}

/// What was noted of a caught error.
fn recall<T>(caught: &CaughtError, take: impl FnOnce(&Noted) -> T) -> Option<T> {
    let CaughtError::PostgresError(report) = caught else { return None };
    let known = report.sql_error_code() as i32;
    let is_it = |noted: &&Noted| {
        noted.message == report.message()
            && (noted.code == known || is_made_up(noted.code) && known == PgSqlErrorCode::ERRCODE_INTERNAL_ERROR as i32)
    };
    NOTED.borrow().iter().rev().find(is_it).map(take)
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
    let code = recall(caught, |noted| noted.code).unwrap_or(report(caught).sql_error_code() as i32);
    std::array::from_fn(|place| ((code >> (6 * place)) & 0x3f) as u8 + b'0')
}

/// What a caught error is about, inside [`preserving`].
pub(crate) fn names_of(caught: &CaughtError) -> Names {
    recall(caught, |noted| noted.names.clone()).unwrap_or_default()
}

/// Runs `body`; an error comes back as a failure with its own code and names, and without the backtrace that pgrx adds to it.
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
            let mut failure = Failure::new(&code, report.message()).from(origin).about(names_of(&caught));
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
