//! Values of Postgres' types: read, made and compared.

use super::failure::Failure;
use cache_sync_core::json;
use pgrx::{pg_sys, varlena};
use std::ffi::CString;

/// The bytes of a value of variable length; only those of values that are compressed or stored elsewhere are copied.
///
/// # Safety
/// `datum` must be one; the bytes live as long as it, or as the current memory context.
#[inline]
pub(crate) unsafe fn plain_bytes<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    let value = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        let plain = varlena::varatt_is_4b_u(value) || (varlena::varatt_is_1b(value) && !varlena::varatt_is_1b_e(value));
        varlena::varlena_to_byte_slice(if plain { value } else { pg_sys::pg_detoast_datum_packed(value) })
    }
}

/// Bytes as a value of variable length, in memory of the current context.
pub(crate) fn bytea(bytes: &[u8]) -> pg_sys::Datum {
    varlena::rust_byte_slice_to_bytea(bytes).into_pg().into()
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

/// Whether two values of a type are the same to the byte, wherever and however they are stored.
///
/// # Safety
/// Both must be values of a type with this length and way of passing.
pub(crate) unsafe fn is_same(a: pg_sys::Datum, b: pg_sys::Datum, is_by_value: bool, length: i16) -> bool {
    unsafe extern "C-unwind" {
        fn datum_image_eq(a: pg_sys::Datum, b: pg_sys::Datum, is_by_value: bool, length: i32) -> bool;
    }
    if is_by_value {
        // What lies above the value in a datum depends on who made it.
        let unused = u64::BITS - 8 * u32::from(length.unsigned_abs()).clamp(1, 8);
        return (a.value() as u64) << unused == (b.value() as u64) << unused;
    }
    // SAFETY: the caller vouches for the values. The same bytes are the same value, also when they point to one that
    // is stored elsewhere; only others need to be fetched.
    unsafe {
        (length == -1 && stored_bytes(a) == stored_bytes(b))
            || pg_sys::ffi::pg_guard_ffi_boundary(|| datum_image_eq(a, b, is_by_value, i32::from(length)))
    }
}

/// # Safety
/// `datum` must be a value of variable length.
unsafe fn stored_bytes<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    let value = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: such a value begins with its size.
    unsafe { std::slice::from_raw_parts(value.cast::<u8>(), varlena::varsize_any(value)) }
}
