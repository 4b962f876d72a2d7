//! Arguments and results of functions called from SQL.

use crate::pg::failure::Failure;
use cache_sync_core::json;
use pgrx::pg_sys;
use std::ffi::CString;

/// An argument that must not be null.
pub(crate) fn null(name: &str) -> Failure {
    Failure::new(b"22004", format!("{name} must not be null"))
}

/// An argument as it came.
///
/// # Safety
/// The function must have so many arguments.
pub(crate) unsafe fn datum(fcinfo: pg_sys::FunctionCallInfo, index: usize) -> Option<pg_sys::Datum> {
    // SAFETY: the caller vouches for the index.
    let argument = unsafe { *(*fcinfo).args.as_ptr().add(index) };
    (!argument.isnull).then_some(argument.value)
}

/// An argument of variable length, neither compressed nor stored elsewhere.
///
/// # Safety
/// The function must have such an argument there.
pub(crate) unsafe fn plain(fcinfo: pg_sys::FunctionCallInfo, index: usize) -> Option<pg_sys::Datum> {
    // SAFETY: the caller vouches for the argument.
    unsafe { datum(fcinfo, index).map(|value| pg_sys::pg_detoast_datum(value.cast_mut_ptr()).into()) }
}

/// Bytes as a value of variable length, in memory of the current context.
pub(crate) fn bytes(bytes: &[u8]) -> pg_sys::Datum {
    pgrx::varlena::rust_byte_slice_to_bytea(bytes).into_pg().into()
}

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

/// A jsonb as its text, in memory that Postgres owns.
///
/// # Safety
/// `datum` must be a jsonb; the text lives as long as the current memory context.
pub(crate) unsafe fn text_of_jsonb<'a>(datum: pg_sys::Datum) -> &'a str {
    // SAFETY: the caller vouches for the value, which is not null, so jsonb_out returns a new string; a database that
    // the extension is in has the encoding UTF8.
    unsafe {
        pgrx::direct_function_call::<&'a std::ffi::CStr>(pg_sys::jsonb_out, &[Some(datum)])
            .and_then(|text| text.to_str().ok())
            .unwrap_or("null")
    }
}

/// A text as a jsonb, in memory of the current context.
///
/// # Errors
/// When the text has a zero byte in it; Postgres' errors are raised.
pub(crate) fn jsonb(text: &str) -> Result<pg_sys::Datum, Failure> {
    let Ok(text) = CString::new(text) else {
        return Err(Failure::new(b"22021", "a text cannot contain a zero byte"));
    };
    // SAFETY: jsonb_in takes a string that ends in a zero byte and copies what it needs.
    let datum = unsafe { pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(text.as_ptr().into())]) };
    datum.ok_or_else(|| Failure::new(b"XX000", "jsonb_in returned nothing"))
}

/// Sees to it that a text is JSON. Postgres takes longer for that, so it is asked only about texts that do not look like it, or
/// are nested deep, and has the last word.
///
/// # Errors
/// When the text has a zero byte in it; Postgres' errors are raised.
pub(crate) fn check_json(text: &[u8]) -> Result<(), Failure> {
    if json::is_plainly_valid(text) {
        return Ok(());
    }
    let text = CString::new(text).map_err(|_| Failure::new(b"22021", "a text cannot contain a zero byte"))?;
    // SAFETY: json_in takes a string that ends in a zero byte and copies what it needs.
    unsafe { pgrx::direct_function_call_as_datum(pg_sys::json_in, &[Some(text.as_ptr().into())]) };
    Ok(())
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
