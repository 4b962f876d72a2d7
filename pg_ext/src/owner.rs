//! Runs things as the owner of the extension's tables, where users have no rights, or of a user's table.

use crate::failure::Failure;
use pgrx::pg_sys;

/// Who was running, to be restored also when an error passes through.
struct Restore {
    user: pg_sys::Oid,
    context: i32,
}

impl Drop for Restore {
    fn drop(&mut self) {
        // SAFETY: both values were read from the same place before they were changed.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
    }
}

/// Refuses to go on without the functions that the library calls: a script of before made the extension's objects.
///
/// # Errors
/// When their schema is not there.
pub(crate) fn refuse_other_script() -> Result<(), Failure> {
    // SAFETY: the name is looked up in the system catalogs.
    if unsafe { pg_sys::get_namespace_oid(c"cache_sync_internal".as_ptr(), true) } != pg_sys::InvalidOid {
        return Ok(());
    }
    Err(Failure::new(b"CS007", "the extension's objects in this database are not of this library")
        .hint("Run ALTER EXTENSION cache_sync UPDATE."))
}

/// Runs `body` as the owner of the extension's tables; nothing of a user's may run inside.
///
/// # Errors
/// When the extension's tables are not there.
pub(crate) fn as_owner<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    // SAFETY: names are looked up in the system catalogs.
    let table = unsafe {
        let schema = pg_sys::get_namespace_oid(c"cache_sync".as_ptr(), true);
        pg_sys::get_relname_relid(c"session".as_ptr(), schema)
    };
    let owner = owner_of(table).ok_or_else(|| {
        Failure::new(b"CS007", "the extension cache_sync is not in this database")
            .hint("Run CREATE EXTENSION cache_sync.")
    })?;
    Ok(run_as(owner, pg_sys::SECURITY_LOCAL_USERID_CHANGE, body))
}

/// Runs `body` as the owner of a user's table, so that its triggers get no rights of whoever runs it; what could outlive this
/// is forbidden then, as Postgres does in its own maintenance. An owner runs it as always.
///
/// # Errors
/// When there is no such relation.
pub(crate) fn as_owner_of<T>(relation: pg_sys::Oid, body: impl FnOnce() -> T) -> Result<T, Failure> {
    let owner = owner_of(relation).ok_or_else(|| Failure::new(b"42P01", "there is no such table"))?;
    // SAFETY: a plain read of a variable of the backend.
    if owner == unsafe { pg_sys::GetUserId() } {
        return Ok(body());
    }
    Ok(run_as(owner, pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION, body))
}

fn run_as<T>(user: pg_sys::Oid, flags: u32, body: impl FnOnce() -> T) -> T {
    let mut before = Restore { user: pg_sys::InvalidOid, context: 0 };
    // SAFETY: both only read and set two variables of the backend; the owner is a role, as pg_class says.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut before.user, &mut before.context);
        pg_sys::SetUserIdAndSecContext(user, before.context | flags as i32);
    }
    let _restore = before;
    body()
}

fn owner_of(relation: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: looked up in the system catalogs; a row of pg_class stays pinned until it is released.
    unsafe {
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, pg_sys::Datum::from(relation));
        if row.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(row);
        Some(owner)
    }
}

/// Whether the current user owns the relation.
pub(crate) fn is_owned(relation: pg_sys::Oid) -> bool {
    // SAFETY: both look the relation up in the system catalogs and raise an error if it is not there.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relation, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, pg_sys::GetUserId());
    }
}

/// Whether the current user may SELECT from the relation, or from some of its columns.
pub(crate) fn is_selectable(relation: pg_sys::Oid) -> bool {
    may(relation, pg_sys::ACL_SELECT as pg_sys::AclMode)
}

/// Whether the current user has one of these rights on the relation, or on some of its columns.
pub(crate) fn may(relation: pg_sys::Oid, rights: pg_sys::AclMode) -> bool {
    // SAFETY: both look the relation up in the system catalogs and raise an error if it is not there.
    unsafe {
        let user = pg_sys::GetUserId();
        pg_sys::pg_class_aclcheck(relation, user, rights) == pg_sys::AclResult::ACLCHECK_OK
            || pg_sys::pg_attribute_aclcheck_all(relation, user, rights, pg_sys::AclMaskHow::ACLMASK_ANY)
                == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// The relation's name; its number if there is no such relation.
pub(crate) fn name_of(relation: pg_sys::Oid) -> String {
    // SAFETY: looks the name up in the system catalogs; null when there is no such relation, else a new string.
    unsafe {
        let name = pg_sys::get_rel_name(relation);
        if name.is_null() {
            relation.to_string()
        } else {
            std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }
}
