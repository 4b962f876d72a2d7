//! Runs things as the owner of the extension's tables, where users have no rights, or of a user's table.

use super::class;
use super::failure::Failure;
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

/// Refuses to go on without the functions that the library calls as their owner: a script of before made the extension's objects, and
/// a schema of that name that is there all the same is somebody's, whose functions must not run with the owner's rights.
///
/// # Errors
/// When their schema is not there, or is not the extension's.
pub(crate) fn refuse_other_script() -> Result<(), Failure> {
    // SAFETY: names and memberships are looked up in the system catalogs.
    let is_ours = unsafe {
        let schema = pg_sys::get_namespace_oid(c"cache_sync_internal".as_ptr(), true);
        let extension = pg_sys::get_extension_oid(c"cache_sync".as_ptr(), true);
        schema != pg_sys::InvalidOid
            && extension != pg_sys::InvalidOid
            && pg_sys::getExtensionOfObject(pg_sys::NamespaceRelationId, schema) == extension
    };
    if is_ours {
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
    class::of(relation, |class| class.relowner)
}
