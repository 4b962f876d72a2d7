//! Arguments of functions called from SQL.

use crate::pg::failure::Failure;
use crate::pg::value::plain_bytes;
use cache_sync_core::number::{FieldId, Version};
use pgrx::{pg_sys, varlena};

/// An argument of a function, `None` when null.
///
/// # Safety
/// `fcinfo` must be what Postgres called the function with, `index` one of its arguments, and `T` of that argument's
/// SQL type.
pub(crate) unsafe fn argument<T: pgrx::FromDatum>(fcinfo: pg_sys::FunctionCallInfo, index: usize) -> Option<T> {
    // SAFETY: the caller vouches for index and type; Postgres fills `nargs` entries of `args`.
    unsafe {
        debug_assert!(index < (*fcinfo).nargs as usize);
        let argument = *(*fcinfo).args.as_ptr().add(index);
        T::from_datum(argument.value, argument.isnull)
    }
}

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

/// An argument of type bigint, null being 0.
///
/// # Safety
/// The function must have such an argument there.
pub(crate) unsafe fn int8(fcinfo: pg_sys::FunctionCallInfo, index: usize) -> Version {
    // SAFETY: the caller vouches for the argument.
    let argument = unsafe { *(*fcinfo).args.as_ptr().add(index) };
    Version(if argument.isnull { 0 } else { argument.value.value() as i64 })
}

/// An argument of type smallint that is not null.
///
/// # Safety
/// The function must have such an argument there.
pub(crate) unsafe fn int2(fcinfo: pg_sys::FunctionCallInfo, index: usize) -> FieldId {
    // SAFETY: the caller vouches for the argument.
    FieldId(unsafe { (*(*fcinfo).args.as_ptr().add(index)).value.value() as i16 })
}

/// An argument of type bytea.
///
/// # Safety
/// The function must have such an argument there.
pub(crate) unsafe fn bytes<'a>(fcinfo: pg_sys::FunctionCallInfo, index: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller vouches for the argument, which outlives the call.
    unsafe {
        let argument = *(*fcinfo).args.as_ptr().add(index);
        if argument.isnull { None } else { Some(plain_bytes(argument.value)) }
    }
}

/// The elements of an argument that is a one-dimensional array of fixed-size numbers without nulls; arrays of another
/// form, and those with more elements than a table has columns, count as empty.
///
/// # Safety
/// The function must have an array of `T`s there.
pub(crate) unsafe fn elements<'a, T>(fcinfo: pg_sys::FunctionCallInfo, index: usize) -> &'a [T] {
    // SAFETY: the caller vouches for the argument. An array's data begin at the next multiple of 8 bytes after its
    // header and dimensions, when it has no bitmap of nulls.
    unsafe {
        let argument = *(*fcinfo).args.as_ptr().add(index);
        if argument.isnull {
            return &[];
        }
        let value = argument.value.cast_mut_ptr::<pg_sys::varlena>();
        let array = if varlena::varatt_is_4b_u(value) { value } else { pg_sys::pg_detoast_datum(value) };
        let array = array.cast::<pg_sys::ArrayType>();
        if (*array).ndim != 1 || (*array).dataoffset != 0 {
            return &[];
        }
        let length = *array.add(1).cast::<i32>();
        // What is done with them takes time by the square, and cannot be interrupted.
        if length > pg_sys::MaxHeapAttributeNumber as i32 {
            return &[];
        }
        let header = (size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>()).next_multiple_of(8);
        std::slice::from_raw_parts(array.byte_add(header).cast(), length as usize)
    }
}
