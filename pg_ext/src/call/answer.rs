//! Results of functions called from SQL.

use crate::pg::failure::Failure;
use pgrx::pg_sys;

/// A result that is one value.
///
/// # Errors
/// When there is none.
pub(crate) fn value(datum: Option<pg_sys::Datum>) -> Result<pg_sys::Datum, Failure> {
    datum.ok_or_else(|| Failure::new(b"XX000", "a function has no result"))
}

/// A result that may be null.
///
/// # Safety
/// `fcinfo` must be what Postgres called the function with.
pub(crate) unsafe fn nullable(fcinfo: pg_sys::FunctionCallInfo, datum: Option<pg_sys::Datum>) -> pg_sys::Datum {
    // SAFETY: the caller vouches for `fcinfo`.
    unsafe { (*fcinfo).isnull = datum.is_none() };
    datum.unwrap_or(pg_sys::Datum::from(0))
}

/// A result that is a row of the function's OUT parameters.
///
/// # Errors
/// When the function is not declared so.
///
/// # Safety
/// The columns must be of the types that the function is declared with.
pub(crate) unsafe fn record(
    fcinfo: pg_sys::FunctionCallInfo,
    columns: &mut [Option<pg_sys::Datum>],
) -> Result<pg_sys::Datum, Failure> {
    let mut values: Vec<_> = columns.iter().map(|column| column.unwrap_or(pg_sys::Datum::from(0))).collect();
    let mut nulls: Vec<_> = columns.iter().map(Option::is_none).collect();
    // SAFETY: `fcinfo` is what Postgres called us with; both arrays have as many elements as the row has columns.
    unsafe {
        let mut descriptor = std::ptr::null_mut();
        let class = pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &mut descriptor);
        if class != pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE || (*descriptor).natts as usize != columns.len() {
            return Err(Failure::new(b"CS007", "a function of the extension is declared as another library has it"));
        }
        let tuple =
            pg_sys::heap_form_tuple(pg_sys::BlessTupleDesc(descriptor), values.as_mut_ptr(), nulls.as_mut_ptr());
        Ok(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data))
    }
}
