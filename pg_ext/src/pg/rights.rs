//! What the current user may do with a relation, and see of it.

use super::class;
use pgrx::pg_sys;

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

/// Whether the current user may SELECT all of the relation. A right on some of its columns tells neither how its keys are hashed nor
/// what was to be written to others.
pub(crate) fn is_readable(relation: pg_sys::Oid) -> bool {
    // SAFETY: looks the relation up in the system catalogs and raises an error if it is not there.
    unsafe {
        let rights = pg_sys::ACL_SELECT as pg_sys::AclMode;
        pg_sys::pg_class_aclcheck(relation, pg_sys::GetUserId(), rights) == pg_sys::AclResult::ACLCHECK_OK
    }
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

/// Whether the current user may write the relation in some way, or some of its columns.
pub(crate) fn may_write(relation: pg_sys::Oid) -> bool {
    may(relation, (pg_sys::ACL_INSERT | pg_sys::ACL_UPDATE | pg_sys::ACL_DELETE) as pg_sys::AclMode)
}

/// Whether the current user may see all statistics of the server, as `pg_monitor` does.
pub(crate) fn is_monitor() -> bool {
    // SAFETY: looks the user's memberships up in the system catalogs.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::Oid::from(pg_sys::ROLE_PG_READ_ALL_STATS)) }
}

/// Whether row-level security hides rows of the relation from the current user.
pub(crate) fn hides_rows(relation: pg_sys::Oid) -> bool {
    // SAFETY: looks the relation up in the system catalogs; one that is not there hides nothing.
    let security = unsafe { pg_sys::check_enable_rls(relation, pg_sys::InvalidOid, true) };
    security == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
}

/// Whether row-level security hides rows of the relation from anybody.
pub(crate) fn has_row_security(relation: pg_sys::Oid) -> bool {
    class::of(relation, |class| class.relrowsecurity).unwrap_or(false)
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
