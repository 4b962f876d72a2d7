//! `upsert`, `edit` and `delete` for SQL: one patch, in the caller's transaction, stamped now.

use super::batch::Part;
use super::jsonb::Container;
use super::rounds::{self, Locking};
use crate::failure::{Failure, argument, sql_functions};
use crate::shape::{Planning, Shape, Statement, Target, target};
use crate::{answer, hlc, sqlstate};
use cache_sync_core::outcome::Record;
use cache_sync_core::patch::Kind;
use pgrx::{IntoDatum, Spi, pg_sys};
use std::cell::OnceCell;
use std::mem::ManuallyDrop;

const TRAVELLING: &str = "SELECT pg_catalog.jsonb_build_array($1 OPERATOR(pg_catalog.||) $2 \
    OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('#', 0, '@', $3))";

thread_local! {
    static TRAVEL: ManuallyDrop<OnceCell<Statement>> = const { ManuallyDrop::new(OnceCell::new()) };
}

sql_functions! {
    /// `upsert(tbl regclass, doc jsonb, OUT outcome text, OUT version bigint, OUT row_after jsonb)`
    fn upsert / pg_finfo_upsert(fcinfo) {
        // SAFETY: the install script declares these arguments and results.
        unsafe {
            let doc = answer::plain(fcinfo, 1).ok_or_else(|| answer::null("doc"));
            single(fcinfo, Kind::Put { seen: false }, doc?, None)
        }
    }

    /// `edit(tbl regclass, key jsonb, patch jsonb, OUT outcome text, OUT version bigint, OUT row_after jsonb)`
    fn edit / pg_finfo_edit(fcinfo) {
        // SAFETY: the install script declares these arguments and results.
        unsafe {
            let key = answer::plain(fcinfo, 1).ok_or_else(|| answer::null("key"));
            let patch = answer::plain(fcinfo, 2).ok_or_else(|| answer::null("patch"));
            single(fcinfo, Kind::Edit, key?, Some(patch?))
        }
    }

    /// `delete(tbl regclass, key jsonb, OUT outcome text, OUT version bigint, OUT row_after jsonb)`
    fn delete / pg_finfo_delete(fcinfo) {
        // SAFETY: the install script declares these arguments and results.
        unsafe {
            let key = answer::plain(fcinfo, 1).ok_or_else(|| answer::null("key"));
            single(fcinfo, Kind::Delete, key?, None)
        }
    }
}

/// Applies one patch: `first` is the key, or key and fields, `second` the fields.
///
/// # Safety
/// `fcinfo` must be of a function with these results and the table as first argument, both documents plain jsonb.
unsafe fn single(
    fcinfo: pg_sys::FunctionCallInfo,
    kind: Kind,
    first: pg_sys::Datum,
    second: Option<pg_sys::Datum>,
) -> Result<pg_sys::Datum, Failure> {
    sqlstate::preserving(|| {
        // SAFETY: the caller vouches for arguments and results. What goes into the result is copied out of memory
        // that ends with SPI.
        unsafe {
            let table = argument::<pg_sys::Oid>(fcinfo, 0).ok_or_else(|| answer::null("tbl"))?;
            let outside = pg_sys::CurrentMemoryContext;
            let (record, row) = Spi::connect_mut(|_| {
                let target = target(table)?;
                let shape = Shape::new(kind, fields(&target, first, second)?);
                let hlc = hlc::next();
                let rows = travelling(first, second.unwrap_or(first), hlc)?;
                let part = Part::new(&target, &shape, rows, hlc)?;
                let locking = Locking { first: false, strict: false };
                let answers = rounds::run(&target, &[part], hlc, locking)?;
                let Some((_, record)) = answers.as_deref().and_then(<[_]>::first) else {
                    return Err(Failure::new(b"XX000", "a patch has no outcome"));
                };
                Ok((*record, row_after(&target, rows, outside)?))
            })?;
            answer::record(fcinfo, &mut [record.verdict.as_str().into_datum(), version(&record), row])
        }
    })
}

fn version(record: &Record) -> Option<pg_sys::Datum> {
    (record.version.0 != 0).then(|| record.version.0.into())
}

/// The fields that the documents carry.
///
/// # Safety
/// Both must be plain jsonb.
unsafe fn fields(target: &Target, first: pg_sys::Datum, second: Option<pg_sys::Datum>) -> Result<Vec<String>, Failure> {
    let is_key = |name: &String| target.layout.key.iter().any(|key| key.name == *name);
    // SAFETY: the caller vouches for both.
    let first = unsafe { members(first)? };
    let Some(second) = second else {
        return Ok(first.into_iter().filter(|name| !is_key(name)).collect());
    };
    if let Some(name) = first.iter().find(|name| !is_key(name)) {
        return Err(Failure::new(b"22023", format!("\"{name}\" is no column of the key")));
    }
    // SAFETY: as above.
    let second = unsafe { members(second)? };
    match second.iter().find(|name| is_key(name)) {
        Some(name) => Err(Failure::new(b"22023", format!("\"{name}\" is a column of the key and cannot be edited"))),
        None => Ok(second),
    }
}

/// # Safety
/// `object` must be plain jsonb.
unsafe fn members(object: pg_sys::Datum) -> Result<Vec<String>, Failure> {
    // SAFETY: the caller vouches for the value.
    let object = unsafe { Container::of(object) };
    if !object.is_object() {
        return Err(Failure::new(b"22023", "a key, document or patch must be a JSON object"));
    }
    Ok(object.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect())
}

/// The patch as it would travel.
///
/// # Safety
/// Both documents must be jsonb objects.
unsafe fn travelling(first: pg_sys::Datum, second: pg_sys::Datum, stamp: i64) -> Result<pg_sys::Datum, Failure> {
    let mut rows = None;
    TRAVEL.with(|travel| {
        let travel = match travel.get() {
            Some(travel) => travel,
            None => {
                let types = [pg_sys::JSONBOID, pg_sys::JSONBOID, pg_sys::INT8OID];
                let statement = Statement::new(TRAVELLING, &types, Planning::Free)?;
                travel.get_or_init(|| statement)
            }
        };
        // SAFETY: the arguments are of these types; the copy lives until SPI is left.
        unsafe {
            travel.run(&[Some(first), Some(second), Some(stamp.into())], |row| {
                rows = row.datum(0).map(|rows| pg_sys::pg_detoast_datum_copy(rows.cast_mut_ptr()).into());
            })
        }
    })?;
    answer::value(rows)
}

/// The row as it is now, without the columns that are ours.
///
/// # Safety
/// `rows` must be a jsonb array of one patch.
unsafe fn row_after(
    target: &Target,
    rows: pg_sys::Datum,
    context: pg_sys::MemoryContext,
) -> Result<Option<pg_sys::Datum>, Failure> {
    let mut after = None;
    // SAFETY: the argument is jsonb; the copy is made in memory that outlives SPI.
    unsafe {
        target.row.get()?.run(&[Some(rows)], |row| {
            after = row.datum(0).map(|row| {
                let inside = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = context;
                let copy = pg_sys::pg_detoast_datum_copy(row.cast_mut_ptr());
                pg_sys::CurrentMemoryContext = inside;
                copy.into()
            });
        })?;
    }
    Ok(after)
}
