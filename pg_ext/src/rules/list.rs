//! The functions over lists and sets that compiled statements call.

use super::jsonb;
use crate::call::answer;
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::pg::backend::OfBackend;
use crate::pg::failure::Failure;
use crate::pg::sqlstate;
use crate::pg::value::{self, plain_bytes};
use cache_sync_core::json::Json;
use cache_sync_core::merge;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::CString;

/// How the elements of an array are made of JSON; kept with the call.
struct Element {
    oid: pg_sys::Oid,
    length: i16,
    is_by_value: bool,
    align: std::ffi::c_char,
    input: pg_sys::FmgrInfo,
    parameter: pg_sys::Oid,
    is_json: bool,
}

/// The set that was made last, of a set and a change: a statement asks for it twice.
type Last = Option<([Vec<u8>; 2], (String, bool))>;

static LAST: OfBackend<RefCell<Last>> = OfBackend::new(RefCell::new(None));

sql_functions! {
    /// `joined(current jsonb, incoming jsonb) -> jsonb`: two lists as one; null is an empty one.
    fn joined / pg_finfo_joined(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe {
            let lists = [0, 1].map(|place| argument::datum(fcinfo, place));
            for list in lists.into_iter().flatten() {
                jsonb::list_len(plain_bytes(list)).ok_or_else(|| no_list(list))?;
            }
            Ok(match lists {
                [Some(_), Some(_)] => answer::value(pgrx::direct_function_call_as_datum(pg_sys::jsonb_concat, &lists))?,
                [one, other] => answer::nullable(fcinfo, one.or(other)),
            })
        }
    }

    /// `last_of(list jsonb, cap integer) -> jsonb`: the last elements of a list.
    fn last_of / pg_finfo_last_of(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe {
            let cap: Option<i32> = argument(fcinfo, 1);
            let (Some(list), Some(cap)) = (argument::datum(fcinfo, 0), cap) else {
                return Ok(answer::nullable(fcinfo, argument::datum(fcinfo, 0)));
            };
            // No rule has a negative cap; it takes nothing away.
            let (container, cap) = (plain_bytes(list), usize::try_from(cap).unwrap_or(usize::MAX));
            if jsonb::list_len(container).ok_or_else(|| no_list(list))? <= cap {
                return Ok(list);
            }
            jsonb::last_of(container, cap).map(|last| value::bytea(&last)).ok_or_else(|| no_list(list))
        }
    }

    /// `united(current jsonb, change jsonb) -> jsonb`: a set after a change.
    fn united_json / pg_finfo_united_json(fcinfo) {
        // SAFETY: the install script declares these arguments.
        sqlstate::preserving(|| unsafe {
            let [current, change] = [0, 1].map(|place| argument::datum(fcinfo, place));
            let Some(change) = change else { return Ok(answer::nullable(fcinfo, current)) };
            value::jsonb(&unite(current, change, |set| value::text_of_jsonb(set))?.0)
        })
    }

    /// `united(current anyarray, change jsonb) -> anyarray`
    fn united_array / pg_finfo_united_array(fcinfo) {
        // SAFETY: the install script declares these arguments: the array's type is known.
        sqlstate::preserving(|| unsafe {
            let [current, change] = [0, 1].map(|place| argument::datum(fcinfo, place));
            let Some(change) = change else { return Ok(answer::nullable(fcinfo, current)) };
            array(element(fcinfo)?, &unite(current, change, |set| text_of_array(set))?.0)
        })
    }

    /// `unites(current jsonb, change jsonb) -> boolean`: whether the change makes another set.
    fn unites_json / pg_finfo_unites_json(fcinfo) {
        // SAFETY: the install script declares these arguments.
        sqlstate::preserving(|| unsafe {
            let [current, change] = [0, 1].map(|place| argument::datum(fcinfo, place));
            let Some(change) = change else { return Ok(pg_sys::Datum::from(false)) };
            Ok(pg_sys::Datum::from(unite(current, change, |set| value::text_of_jsonb(set))?.1))
        })
    }

    /// `unites(current anyarray, change jsonb) -> boolean`
    fn unites_array / pg_finfo_unites_array(fcinfo) {
        // SAFETY: the install script declares these arguments.
        sqlstate::preserving(|| unsafe {
            let [current, change] = [0, 1].map(|place| argument::datum(fcinfo, place));
            let Some(change) = change else { return Ok(pg_sys::Datum::from(false)) };
            Ok(pg_sys::Datum::from(unite(current, change, |set| text_of_array(set))?.1))
        })
    }
}

/// # Safety
/// `datum` must be a jsonb.
unsafe fn no_list(datum: pg_sys::Datum) -> Failure {
    // SAFETY: the caller vouches for the value.
    let text = unsafe { value::text_of_jsonb(datum) };
    Failure::new(b"22023", format!("the rule append needs a list, not {text}"))
}

/// Forgets the set that was made last: what its elements are called may have changed since.
pub(crate) fn forget() {
    LAST.replace(None);
}

/// An array as JSON, in memory that Postgres owns.
///
/// # Safety
/// `array` must be one; the text lives as long as the current memory context.
unsafe fn text_of_array<'a>(array: pg_sys::Datum) -> &'a str {
    // SAFETY: the caller vouches for the value; a json is its text.
    unsafe {
        let json = pgrx::direct_function_call_as_datum(pg_sys::array_to_json, &[Some(array)]);
        json.and_then(|json| std::str::from_utf8(plain_bytes(json)).ok()).unwrap_or("null")
    }
}

/// A set after a change, and whether it is another one.
///
/// # Safety
/// The set must be of variable length, and the change a jsonb.
unsafe fn unite<'a>(
    current: Option<pg_sys::Datum>,
    change: pg_sys::Datum,
    text: impl FnOnce(pg_sys::Datum) -> &'a str,
) -> Result<(String, bool), Failure> {
    // SAFETY: the caller vouches for the values.
    let (set, by) = unsafe { (current.map_or(&[][..], |set| plain_bytes(set)), plain_bytes(change)) };
    if let Some((_, united)) =
        LAST.borrow().as_ref().filter(|([last_set, last_by], _)| last_set == set && last_by == by)
    {
        return Ok(united.clone());
    }
    // SAFETY: as above.
    let united = merge::unite(current.map(text), unsafe { value::text_of_jsonb(change) });
    let united = united.map_err(|refused| Failure::new(b"22023", refused.to_string()))?;
    LAST.replace(Some(([set.to_vec(), by.to_vec()], united.clone())));
    Ok(united)
}

/// How the elements of the function's first argument, an array, are made.
///
/// # Safety
/// `fcinfo` must be what Postgres called the function with.
unsafe fn element<'a>(fcinfo: pg_sys::FunctionCallInfo) -> Result<&'a mut Element, Failure> {
    // SAFETY: `flinfo` belongs to this place in the query; its `fn_extra` is ours and null at first, and what is
    // allocated in `fn_mcxt` lives as long. An element's type is in the catalogs.
    unsafe {
        let info = (*fcinfo).flinfo;
        if (*info).fn_extra.is_null() {
            let array = pg_sys::getBaseType(pg_sys::get_fn_expr_argtype(info, 0));
            let oid = pg_sys::get_element_type(array);
            if oid == pg_sys::InvalidOid {
                return Err(Failure::new(b"42804", "united() needs an array"));
            }
            let space = pg_sys::MemoryContextAllocZero((*info).fn_mcxt, size_of::<Element>()).cast::<Element>();
            let (mut input, base) = (pg_sys::InvalidOid, pg_sys::getBaseType(oid));
            (*space).oid = oid;
            (*space).is_json = base == pg_sys::JSONBOID || base == pg_sys::JSONOID;
            pg_sys::get_typlenbyvalalign(oid, &mut (*space).length, &mut (*space).is_by_value, &mut (*space).align);
            pg_sys::getTypeInputInfo(oid, &mut input, &mut (*space).parameter);
            pg_sys::fmgr_info_cxt(input, &mut (*space).input, (*info).fn_mcxt);
            (*info).fn_extra = space.cast();
        }
        Ok(&mut *(*info).fn_extra.cast::<Element>())
    }
}

/// The list as an array.
///
/// # Safety
/// The element must be what [`element`] found.
unsafe fn array(element: &mut Element, list: &str) -> Result<pg_sys::Datum, Failure> {
    let (mut values, mut nulls) = (Vec::new(), Vec::new());
    for value in Json::new(list.as_bytes()).elements() {
        let text = value.as_str().unwrap_or("null");
        let (is_null, is_string) = (text == "null" && !element.is_json, text.starts_with('"') && !element.is_json);
        if !element.is_json && (value.is_array() || value.is_object()) {
            return Err(Failure::new(b"22023", format!("{text} is no element of this array")));
        }
        let text = if is_string { serde_json::from_str(text).unwrap_or_default() } else { text.to_owned() };
        let Ok(text) = CString::new(text) else {
            return Err(Failure::new(b"22021", "a text cannot contain a zero byte"));
        };
        // SAFETY: the input function of the element's type takes a string; null is for those that are not strict, as those of domains.
        values.push(unsafe {
            let text = if is_null { std::ptr::null_mut() } else { text.as_ptr().cast_mut() };
            pg_sys::InputFunctionCall(&mut element.input, text, element.parameter, -1)
        });
        nulls.push(is_null);
    }
    if values.is_empty() {
        // SAFETY: an empty array needs no more than its elements' type.
        return Ok(unsafe { pg_sys::construct_empty_array(element.oid) }.into());
    }
    let (mut length, mut lower_bound) = (values.len() as i32, 1);
    // SAFETY: both lists have `length` elements, of the type whose properties these are.
    Ok(unsafe {
        pg_sys::construct_md_array(
            values.as_mut_ptr(),
            nulls.as_mut_ptr(),
            1,
            &mut length,
            &mut lower_bound,
            element.oid,
            i32::from(element.length),
            element.is_by_value,
            element.align,
        )
        .into()
    })
}
