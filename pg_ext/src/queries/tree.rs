//! Postgres' nodes and lists.

use pgrx::{pg_guard, pg_sys};
use std::ffi::{c_int, c_void};

/// Queries in FROM and in WITH are visited with what is known there.
const WITHOUT_QUERIES: c_int = pg_sys::QTW_IGNORE_RC_SUBQUERIES as c_int;

type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;

unsafe extern "C-unwind" {
    #[cfg_attr(feature = "pg15", link_name = "expression_tree_walker")]
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_walker_impl")]
    fn expression_tree_walker(node: *mut pg_sys::Node, walker: Walker, context: *mut c_void) -> bool;
    #[cfg_attr(feature = "pg15", link_name = "query_tree_walker")]
    #[cfg_attr(not(feature = "pg15"), link_name = "query_tree_walker_impl")]
    fn query_tree_walker(query: *mut pg_sys::Query, walker: Walker, context: *mut c_void, flags: c_int) -> bool;
}

/// The pointers of a list, which may be null: then there are none.
///
/// # Safety
/// It must be a list of pointers to `T`s, and nobody may change it meanwhile.
pub(super) unsafe fn list<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: a list has `length` elements.
    let length = if list.is_null() { 0 } else { unsafe { (*list).length as usize } };
    // SAFETY: as above; the caller vouches for what they are.
    (0..length).map(move |place| unsafe { (*(*list).elements.add(place)).ptr_value.cast() })
}

/// An element of a list, counted from 1.
///
/// # Safety
/// As [`list`].
pub(super) unsafe fn nth<T>(of: *mut pg_sys::List, number: usize) -> Option<*mut T> {
    // SAFETY: the caller vouches for the list.
    unsafe { list(of).nth(number.checked_sub(1)?).filter(|element: &*mut T| !element.is_null()) }
}

/// The node, if it is of this kind.
///
/// # Safety
/// It must be null or a node, and `T` the struct of nodes with that tag.
pub(super) unsafe fn as_a<'a, T>(node: *mut pg_sys::Node, tag: pg_sys::NodeTag) -> Option<&'a T> {
    // SAFETY: every node begins with its tag; the caller vouches for the rest.
    unsafe { (!node.is_null() && (*node).type_ == tag).then(|| &*node.cast::<T>()) }
}

/// The nodes right below an expression, a list, or a query that a sublink has.
///
/// # Safety
/// It must be a node of an analysed statement.
pub(super) unsafe fn children(node: *mut pg_sys::Node) -> Vec<*mut pg_sys::Node> {
    let mut found = Vec::new();
    let context = (&raw mut found).cast();
    // SAFETY: the walker calls `collect` for each node below with the context, and does not keep it. It raises an error when the
    // stack is too deep, which passes no frame that has anything to drop.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| expression_tree_walker(node, collect, context)) };
    found
}

/// The expressions of a query, but for those of the queries in its FROM and WITH.
///
/// # Safety
/// It must be an analysed query.
pub(super) unsafe fn expressions(query: *mut pg_sys::Query) -> Vec<*mut pg_sys::Node> {
    let mut found = Vec::new();
    let context = (&raw mut found).cast();
    // SAFETY: as above.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| query_tree_walker(query, collect, context, WITHOUT_QUERIES)) };
    found
}

#[pg_guard]
unsafe extern "C-unwind" fn collect(node: *mut pg_sys::Node, found: *mut c_void) -> bool {
    if !node.is_null() {
        // SAFETY: the context that the walkers were given above.
        unsafe { (*found.cast::<Vec<*mut pg_sys::Node>>()).push(node) };
    }
    false
}
