//! How functions called from SQL are declared and run.

use crate::pg::failure::{Failure, throw};
use crate::ring;
use pgrx::{PgLogLevel, pg_sys};

/// Runs the body of a function called from SQL, once the ring is at hand: panics and Postgres' errors go on as Postgres' errors,
/// a failure comes back as an error to be thrown.
///
/// # Safety
/// To be called right from an `extern "C-unwind"` function that Postgres called, with nothing to drop in it.
pub(crate) unsafe fn run(body: impl FnOnce() -> Result<pg_sys::Datum, Failure>) -> pg_sys::Datum {
    // SAFETY: the caller vouches for its caller.
    unsafe { run_without_ring(|| ring::ensure().and_then(|()| body())) }
}

/// The same for a function that must work even where the ring cannot be had.
///
/// # Safety
/// As [`run`].
pub(crate) unsafe fn run_without_ring(body: impl FnOnce() -> Result<pg_sys::Datum, Failure>) -> pg_sys::Datum {
    // SAFETY: the caller has nothing to drop, which is what the guard asks for.
    let result = unsafe {
        pg_sys::panic::pgrx_extern_c_guard(|| body().map_err(|failure| failure.into_error_data(PgLogLevel::ERROR)))
    };
    match result {
        Ok(datum) => datum,
        // SAFETY: the guard has returned, and what is left on the stack are numbers and pointers.
        Err(error) => unsafe { throw(error) },
    }
}

/// Declares functions that SQL calls by the version 1 convention; the body returns `Result<Datum, Failure>`. After
/// `without ring:` they are run by [`run_without_ring`].
macro_rules! sql_functions {
    (without ring: $($functions:tt)*) => { $crate::call::function::sql_functions!(@run_without_ring $($functions)*); };
    (@$run:ident $($(#[$doc:meta])* fn $name:ident / $finfo:ident ($fcinfo:ident) $body:block)*) => {$(
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        extern "C" fn $finfo() -> &'static pgrx::pg_sys::Pg_finfo_record {
            const VERSION_1: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &VERSION_1
        }

        $(#[$doc])*
        #[unsafe(no_mangle)]
        extern "C-unwind" fn $name($fcinfo: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
            let body = || $body;
            // SAFETY: Postgres calls this function, and nothing in it needs dropping.
            unsafe { $crate::call::function::$run(body) }
        }
    )*};
    ($($functions:tt)*) => { $crate::call::function::sql_functions!(@run $($functions)*); };
}
pub(crate) use sql_functions;
