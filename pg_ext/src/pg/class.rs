//! A relation's row in the system catalogs.

use pgrx::pg_sys;

/// What `read` takes from the relation's row in pg_class; `None` if there is no such relation.
pub(super) fn of<T>(relation: pg_sys::Oid, read: impl FnOnce(&pg_sys::FormData_pg_class) -> T) -> Option<T> {
    // SAFETY: looked up in the system catalogs; a row of pg_class stays pinned until it is released.
    unsafe {
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, pg_sys::Datum::from(relation));
        if row.is_null() {
            return None;
        }
        let taken = read(&*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_class>());
        pg_sys::ReleaseSysCache(row);
        Some(taken)
    }
}
