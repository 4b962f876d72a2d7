//! A text as Postgres understands it.

use super::answer::Answer;
use super::level::Walk;
use super::tree::{as_a, list, nth};
use pgrx::pg_sys;
use std::ffi::{CStr, c_int};

/// What a statement reads whose parameters have these types, as far as they are given.
///
/// # Errors
/// Postgres' errors are raised: of the text, and of what the caller may not.
pub(super) fn read(text: &CStr, types: &[pg_sys::Oid]) -> Answer {
    let mut walk = Walk::new(text);
    // SAFETY: the parser makes a list of raw statements of a text that ends in a zero byte. The array of types is Postgres' own, as
    // analysis makes it larger.
    unsafe {
        let statements = pg_sys::pg_parse_query(text.as_ptr());
        let only = nth::<pg_sys::RawStmt>(statements, 1).filter(|_| (*statements).length == 1);
        let Some(statement) = only.filter(|statement| is_select((**statement).stmt)) else {
            walk.answer.refuse("what is not one SELECT", "a cached query is one SELECT, without INTO");
            return walk.answer;
        };
        let mut count = types.len() as c_int;
        let mut known = pg_sys::palloc(size_of_val(types).max(1)).cast::<pg_sys::Oid>();
        std::ptr::copy_nonoverlapping(types.as_ptr(), known, types.len());
        let queries = pg_sys::pg_analyze_and_rewrite_varparams(
            statement,
            text.as_ptr(),
            &mut known,
            &mut count,
            std::ptr::null_mut(),
        );
        for query in list::<pg_sys::Query>(queries) {
            walk.query(query, None, &[], None);
        }
        let name = |place| CStr::from_ptr(pg_sys::format_type_be(*known.add(place))).to_string_lossy().into_owned();
        walk.answer.parameters = (0..count as usize).map(name).collect();
    }
    walk.answer
}

/// # Safety
/// It must be a node that the parser made.
unsafe fn is_select(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller vouches for the node.
    let select = unsafe { as_a::<pg_sys::SelectStmt>(node, pg_sys::NodeTag::T_SelectStmt) };
    select.is_some_and(|select| select.intoClause.is_null())
}
