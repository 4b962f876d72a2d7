//! The columns of a relation or a composite type.

use pgrx::pg_sys;

/// The column in a place, counted from 0.
///
/// # Safety
/// The descriptor must have that many columns.
pub(crate) unsafe fn column(descriptor: pg_sys::TupleDesc, place: i32) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: the caller vouches for the place. From PostgreSQL 18 on the columns lie behind their short forms, of which there are
    // as many.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        let columns = (*descriptor).attrs.as_ptr();
        #[cfg(feature = "pg18")]
        let columns: *const pg_sys::FormData_pg_attribute =
            (*descriptor).compact_attrs.as_ptr().add((*descriptor).natts as usize).cast();
        columns.add(place as usize)
    }
}
