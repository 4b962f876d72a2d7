//! What the SQL functions of attaching need from here: to note things in the extension's tables on behalf of a table's
//! owner, who has no rights there, and to tell all backends.

use super::catalog;
use crate::call::answer;
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::pg::failure::Failure;
use crate::pg::latest;
use crate::pg::owner::{as_owner, as_owner_of, refuse_other_script};
use crate::pg::rights::{is_owned, is_readable, may, name_of};
use crate::pg::{sqlstate, value};
use pgrx::datum::DatumWithOid;
use pgrx::{IntoDatum, JsonB, Spi, pg_sys};

// Most DDL concerns no attached table, and must not depend on the ring. What there is to tell is noted by functions that need it.
sql_functions! { without ring:
    /// `record(tbl regclass, what text, facts jsonb) -> jsonb`
    fn record / pg_finfo_record(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares these arguments.
            unsafe {
                let what: String = argument(fcinfo, 1).ok_or_else(|| argument::null("what"))?;
                note(fcinfo, 2, "SELECT cache_sync_internal.write($1, $3, $2)", Some(what))
            }
        })
    }

    /// `record_attached(tbl regclass, facts jsonb) -> jsonb`; this and the next two are for the script of 0.1.0, until it is upgraded.
    fn record_attached / pg_finfo_record_attached(fcinfo) {
        // SAFETY: that script declares these arguments.
        sqlstate::preserving(|| unsafe { note(fcinfo, 1, "SELECT cache_sync.write_attached($1, $2)", None) })
    }

    /// `record_detached(tbl regclass, facts jsonb) -> jsonb`
    fn record_detached / pg_finfo_record_detached(fcinfo) {
        // SAFETY: as above.
        sqlstate::preserving(|| unsafe { note(fcinfo, 1, "SELECT cache_sync.write_detached($1, $2)", None) })
    }

    /// `record_rule(tbl regclass, facts jsonb) -> jsonb`
    fn record_rule / pg_finfo_record_rule(fcinfo) {
        // SAFETY: as above.
        sqlstate::preserving(|| unsafe { note(fcinfo, 1, "SELECT cache_sync.write_rule($1, $2)", None) })
    }

    /// `prune_expired(tbl regclass, max_rows integer) -> bigint`: deletes rows that have expired, as the table's owner, for
    /// those who may delete them.
    fn prune_expired / pg_finfo_prune_expired(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares these arguments.
            let (table, max_rows) = unsafe {
                let table: pg_sys::Oid = argument(fcinfo, 0).ok_or_else(|| argument::null("tbl"))?;
                (table, argument::<i32>(fcinfo, 1).ok_or_else(|| argument::null("max_rows"))?)
            };
            if !may(table, pg_sys::ACL_DELETE as pg_sys::AclMode) {
                return Err(denied(table, "permission denied for"));
            }
            // The statement names the table, which must not be another one when it runs.
            // SAFETY: takes a lock that the transaction holds to its end.
            unsafe { pg_sys::LockRelationOid(table, pg_sys::RowExclusiveLock as i32) };
            let text = "SELECT cache_sync_internal.prune_statement($1)";
            let text = as_owner(|| Spi::get_one_with_args::<String>(text, &[table.into()]))?;
            let Ok(Some(text)) = text else { return Ok(pg_sys::Datum::from(0_i64)) };
            // Names in an owner's triggers could lead to temporary things of the caller's.
            let temporary = Spi::get_one::<pg_sys::Oid>("SELECT pg_catalog.pg_my_temp_schema()");
            if !is_owned(table) && temporary != Ok(Some(pg_sys::InvalidOid)) {
                return Err(Failure::new(b"55000", "rows of others cannot be pruned in a session with temporary tables")
                    .hint("Do it in a session of its own."));
            }
            let pruned = as_owner_of(table, || {
                Spi::connect_mut(|client| {
                    client.update(&text, None, &[max_rows.into()])?;
                    // SAFETY: what the statement just run has counted.
                    Ok::<_, pgrx::spi::Error>(unsafe { pg_sys::SPI_processed })
                })
            })?;
            let pruned = pruned.map_err(|error| Failure::new(b"XX000", error.to_string()))?;
            Ok(pg_sys::Datum::from(pruned as i64))
        })
    }

    /// `invalidate_table(tbl regclass)`: makes every backend read anew what it knows of the table and its partitions.
    fn invalidate_table / pg_finfo_invalidate_table(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares this argument.
            let table = unsafe { argument(fcinfo, 0) }.ok_or_else(|| argument::null("tbl"))?;
            refuse_others(table)?;
            invalidate(table);
            Ok(pg_sys::Datum::from(0))
        })
    }

    /// `as_of_now(statement text, id integer) -> jsonb`, strict: what the statement answers, see [`latest`].
    fn as_of_now / pg_finfo_as_of_now(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares these arguments.
            let (text, id) = unsafe { (argument::<String>(fcinfo, 0), argument::<i32>(fcinfo, 1)) };
            let (Some(text), Some(id)) = (text, id) else { return Err(argument::null("statement")) };
            let value = latest::first_value(&text, id)?;
            // SAFETY: as above.
            Ok(unsafe { answer::nullable(fcinfo, value) })
        })
    }

    /// `lock_books(tbl regclass, table_id integer)`, strict: nobody else writes what is noted of this table until the transaction ends.
    fn lock_books / pg_finfo_lock_books(fcinfo) {
        // SAFETY: the install script declares these arguments. Whoever alters the table has locked it before he comes here, so it is
        // locked here first, too. An oid in a class that is one of our tables names no object of Postgres'.
        unsafe {
            let (Some(table), Some(id)) = (argument::<pg_sys::Oid>(fcinfo, 0), argument::<i32>(fcinfo, 1)) else {
                return Err(argument::null("tbl"));
            };
            let Some(attached) = catalog::relid(c"attached") else { return Ok(pg_sys::Datum::from(0)) };
            pg_sys::LockRelationOid(table, pg_sys::AccessShareLock as i32);
            let id = pg_sys::Oid::from(id.cast_unsigned());
            pg_sys::LockDatabaseObject(attached, id, 0, pg_sys::ExclusiveLock as i32);
        }
        Ok(pg_sys::Datum::from(0))
    }

    /// `qualified_type(type oid, modifier integer) -> text`, strict: the type with its modifier, with the schema unless its
    /// name is a word of the grammar.
    fn qualified_type / pg_finfo_qualified_type(fcinfo) {
        // SAFETY: the install script declares these arguments; the type's name is a new string, and null for a type that is not there.
        let name = unsafe {
            let (oid, modifier) = (argument(fcinfo, 0), argument(fcinfo, 1));
            let (Some(oid), Some(modifier)) = (oid, modifier) else { return Err(argument::null("type")) };
            let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_FORCE_QUALIFY | pg_sys::FORMAT_TYPE_INVALID_AS_NULL;
            let name = pg_sys::format_type_extended(oid, modifier, flags as pg_sys::bits16);
            (!name.is_null()).then(|| value::bytea(std::ffi::CStr::from_ptr(name).to_bytes()))
        };
        // SAFETY: as above.
        Ok(unsafe { answer::nullable(fcinfo, name) })
    }

    /// `describe(tbl regclass) -> jsonb`, for those who may read the table.
    fn describe / pg_finfo_describe(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares this argument.
            let table: pg_sys::Oid = unsafe { argument(fcinfo, 0) }.ok_or_else(|| argument::null("tbl"))?;
            if !is_readable(table) {
                return Err(denied(table, "permission denied for"));
            }
            refuse_other_script()?;
            let text = "SELECT cache_sync_internal.description($1)";
            let described = as_owner(|| Spi::get_one_with_args::<JsonB>(text, &[table.into()]))?;
            answer::value(described.ok().flatten().and_then(IntoDatum::into_datum))
        })
    }
}

/// Has one of the extension's own functions note something of a table that the caller owns.
///
/// # Safety
/// `fcinfo` must be of a function that takes a regclass first, and a jsonb at `facts_at`.
unsafe fn note(
    fcinfo: pg_sys::FunctionCallInfo,
    facts_at: usize,
    text: &str,
    what: Option<String>,
) -> Result<pg_sys::Datum, Failure> {
    // SAFETY: the caller vouches for the arguments.
    let (table, facts) = unsafe {
        let table: pg_sys::Oid = argument(fcinfo, 0).ok_or_else(|| argument::null("tbl"))?;
        // As it came: not every jsonb can be read here.
        let facts = argument::datum(fcinfo, facts_at).ok_or_else(|| argument::null("facts"))?;
        (table, DatumWithOid::new(facts, pg_sys::JSONBOID))
    };
    refuse_others(table)?;
    let mut arguments = vec![table.into(), facts];
    arguments.extend(what.map(DatumWithOid::from));
    let noted = as_owner(|| {
        Spi::connect_mut(|client| {
            let rows = client.update(text, Some(1), &arguments)?;
            rows.first().get_one::<JsonB>()
        })
    })?;
    invalidate(table);
    answer::value(noted.ok().flatten().and_then(IntoDatum::into_datum))
}

/// # Errors
/// When there is no such relation, or the current user does not own it.
pub(super) fn refuse_others(table: pg_sys::Oid) -> Result<(), Failure> {
    // SAFETY: looks the table up in the system catalogs.
    if unsafe { pg_sys::get_rel_name(table) }.is_null() {
        return Err(Failure::new(b"42P01", format!("there is no table with the oid {table}")));
    }
    if is_owned(table) { Ok(()) } else { Err(denied(table, "must be owner of")) }
}

fn denied(table: pg_sys::Oid, what: &str) -> Failure {
    Failure::new(b"42501", format!("{what} table {}", name_of(table)))
}

fn invalidate(table: pg_sys::Oid) {
    unsafe extern "C-unwind" {
        fn find_all_inheritors(parent: pg_sys::Oid, lock: i32, counts: *mut *mut pg_sys::List) -> *mut pg_sys::List;
    }
    // SAFETY: find_all_inheritors lists the relation and its partitions, without locking them; a list of oids has
    // `length` elements. Invalidating a relation only sends a message at commit.
    unsafe {
        let no_counts = std::ptr::null_mut();
        let relations = pg_sys::ffi::pg_guard_ffi_boundary(|| find_all_inheritors(table, 0, no_counts));
        for place in 0..(*relations).length as usize {
            pg_sys::CacheInvalidateRelcacheByRelid((*(*relations).elements.add(place)).oid_value);
        }
    }
}
