//! Parameters and constants with which columns are compared, as the key's or the tag's kinds of values name them.

use super::answer::Value;
use super::scope::without_casts;
use super::tree::{as_a, list};
use crate::pg::value::plain_bytes;
use crate::tables::key::KeyKind;
use pgrx::pg_sys;
use serde_json::json;
use std::ffi::{CStr, c_char};

/// Whether equal values of both types are named alike.
pub(super) fn are_alike(one: pg_sys::Oid, other: pg_sys::Oid) -> bool {
    let is_int = |kind: KeyKind| matches!(kind, KeyKind::Int2 | KeyKind::Int4 | KeyKind::Int8);
    match (KeyKind::of(one), KeyKind::of(other)) {
        (Some(KeyKind::Text), Some(KeyKind::Text)) => true,
        (Some(one), Some(other)) if is_int(one) && is_int(other) => true,
        // Times with and without zone are numbers of different things, and enums have labels of their own.
        // SAFETY: looks types up in the system catalogs.
        (Some(_), Some(_)) => unsafe { pg_sys::getBaseType(one) == pg_sys::getBaseType(other) },
        _ => false,
    }
}

/// The value that an expression has throughout the statement, if it is a parameter or a constant that a column of this type can be
/// compared with.
///
/// # Safety
/// It must be an expression of an analysed statement.
pub(super) unsafe fn value(node: *mut pg_sys::Node, of_column: pg_sys::Oid) -> Option<Value> {
    // SAFETY: the caller vouches for the node; a constant is of its type.
    unsafe {
        let node = without_casts(node);
        if let Some(parameter) = parameter(node) {
            return are_alike(of_column, parameter.paramtype).then_some(Value::Parameter(parameter.paramid));
        }
        let constant = as_a::<pg_sys::Const>(node, pg_sys::NodeTag::T_Const)?;
        if constant.constisnull || !are_alike(of_column, constant.consttype) {
            return None;
        }
        named(constant.constvalue, constant.consttype)
    }
}

/// The same for the elements of an array. Those that are null equal nothing.
///
/// # Safety
/// As [`value`].
pub(super) unsafe fn values(array: *mut pg_sys::Node, of_column: pg_sys::Oid) -> Option<Vec<Value>> {
    // SAFETY: as above.
    unsafe {
        let array = without_casts(array);
        if let Some(parameter) = parameter(array) {
            let element = pg_sys::get_base_element_type(parameter.paramtype);
            return are_alike(of_column, element).then(|| vec![Value::EachOf(parameter.paramid)]);
        }
        if let Some(made) = as_a::<pg_sys::ArrayExpr>(array, pg_sys::NodeTag::T_ArrayExpr) {
            let is_null = |element: &*mut pg_sys::Node| {
                as_a::<pg_sys::Const>(*element, pg_sys::NodeTag::T_Const).is_some_and(|constant| constant.constisnull)
            };
            return list(made.elements)
                .filter(|element| !is_null(element))
                .map(|element| value(element, of_column))
                .collect();
        }
        let constant =
            as_a::<pg_sys::Const>(array, pg_sys::NodeTag::T_Const).filter(|constant| !constant.constisnull)?;
        let element = pg_sys::get_base_element_type(constant.consttype);
        if !are_alike(of_column, element) {
            return None;
        }
        elements(constant.constvalue, element).into_iter().map(|datum| named(datum, element)).collect()
    }
}

/// # Safety
/// As [`value`].
unsafe fn parameter<'a>(node: *mut pg_sys::Node) -> Option<&'a pg_sys::Param> {
    // SAFETY: the caller vouches for the node.
    let parameter = unsafe { as_a::<pg_sys::Param>(node, pg_sys::NodeTag::T_Param) };
    parameter.filter(|parameter| parameter.paramkind == pg_sys::ParamKind::PARAM_EXTERN)
}

/// The elements of an array that are not null.
///
/// # Safety
/// It must be an array of that type.
unsafe fn elements(array: pg_sys::Datum, element: pg_sys::Oid) -> Vec<pg_sys::Datum> {
    let (mut length, mut is_by_value, mut align) = (0, false, 0 as c_char);
    let (mut datums, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: the caller vouches for the array; deconstruct_array makes two arrays of as many elements as it says.
    unsafe {
        pg_sys::get_typlenbyvalalign(element, &mut length, &mut is_by_value, &mut align);
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast();
        let length = i32::from(length);
        pg_sys::deconstruct_array(array, element, length, is_by_value, align, &mut datums, &mut nulls, &mut count);
        (0..count as usize).filter(|place| !*nulls.add(*place)).map(|place| *datums.add(place)).collect()
    }
}

/// A value as `{"int": 7}` and the like.
///
/// # Safety
/// The datum must be of the type, and not null.
unsafe fn named(datum: pg_sys::Datum, type_oid: pg_sys::Oid) -> Option<Value> {
    let bits = datum.value();
    // SAFETY: the caller vouches for the type: by-value types lie in the datum's low bits, the others behind it.
    let named = unsafe {
        match KeyKind::of(type_oid)? {
            KeyKind::Int2 => json!({ "int": bits as i16 }),
            KeyKind::Int4 => json!({ "int": bits as i32 }),
            KeyKind::Int8 => json!({ "int": bits as i64 }),
            KeyKind::Bool => json!({ "bool": bits as u8 != 0 }),
            KeyKind::Date => json!({ "date": bits as i32 }),
            KeyKind::Timestamp => json!({ "timestamp": bits as i64 }),
            KeyKind::Text => json!({ "text": std::str::from_utf8(plain_bytes(datum)).ok()? }),
            KeyKind::Bytes => json!({ "bytes": hex(plain_bytes(datum)) }),
            KeyKind::Uuid => json!({ "uuid": hex(&*datum.cast_mut_ptr::<[u8; 16]>()) }),
            KeyKind::Enum => json!({ "text": printed(datum, type_oid) }),
        }
    };
    Some(Value::Value(named))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// # Safety
/// The datum must be of the type, and not null.
unsafe fn printed(datum: pg_sys::Datum, type_oid: pg_sys::Oid) -> String {
    let (mut output, mut is_varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: the caller vouches for the type, whose output function returns a new string.
    unsafe {
        pg_sys::getTypeOutputInfo(type_oid, &mut output, &mut is_varlena);
        CStr::from_ptr(pg_sys::OidOutputFunctionCall(output, datum)).to_string_lossy().into_owned()
    }
}
