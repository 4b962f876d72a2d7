//! `upsert`, `edit`, `delete` and `compare_and_set` for SQL: one patch, in the caller's transaction, stamped now.

use super::kept::Kept;
use super::part::Part;
use super::rounds::{self, Locking};
use super::shape::{Shape, Target, target};
use crate::call::answer;
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::pg::failure::Failure;
use crate::pg::{sqlstate, value};
use crate::ring::{Name, applied};
use crate::tables::known;
use cache_sync_core::json::{Json, unescaped};
use cache_sync_core::number::TableId;
use cache_sync_core::outcome::Record;
use cache_sync_core::patch::PatchKind;
use pgrx::{IntoDatum, Spi, pg_sys};
use std::ffi::CStr;

sql_functions! {
    /// `upsert(tbl regclass, doc jsonb, OUT outcome text, OUT version bigint, OUT row_after jsonb)`
    fn upsert / pg_finfo_upsert(fcinfo) {
        // SAFETY: the install script declares these arguments and results.
        unsafe {
            let doc = document(fcinfo, 1).ok_or_else(|| argument::null("doc"));
            single(fcinfo, PatchKind::Put { seen: false }, doc?, None, None)
        }
    }

    /// `edit(tbl regclass, key jsonb, patch jsonb, OUT outcome text, OUT version bigint, OUT row_after jsonb)`
    fn edit / pg_finfo_edit(fcinfo) {
        // SAFETY: the install script declares these arguments and results.
        unsafe {
            let key = document(fcinfo, 1).ok_or_else(|| argument::null("key"));
            let patch = document(fcinfo, 2).ok_or_else(|| argument::null("patch"));
            single(fcinfo, PatchKind::Edit, key?, Some(patch?), None)
        }
    }

    /// `delete(tbl regclass, key jsonb, OUT outcome text, OUT version bigint, OUT row_after jsonb)`
    fn delete / pg_finfo_delete(fcinfo) {
        // SAFETY: the install script declares these arguments and results.
        unsafe {
            let key = document(fcinfo, 1).ok_or_else(|| argument::null("key"));
            single(fcinfo, PatchKind::Delete, key?, None, None)
        }
    }

    /// `compare_and_set(tbl regclass, doc jsonb, expected_version bigint, OUT outcome text, OUT version bigint,
    /// OUT row_after jsonb)`
    fn compare_and_set / pg_finfo_compare_and_set(fcinfo) {
        // SAFETY: the install script declares these arguments and results.
        unsafe {
            let doc = document(fcinfo, 1).ok_or_else(|| argument::null("doc"));
            let expected = argument::<i64>(fcinfo, 2);
            single(fcinfo, PatchKind::CompareAndSet, doc?, None, Some(expected))
        }
    }
}

/// An argument that is a jsonb, as its text.
///
/// # Safety
/// The function must have such an argument there.
unsafe fn document<'a>(fcinfo: pg_sys::FunctionCallInfo, index: usize) -> Option<Json<'a>> {
    // SAFETY: the caller vouches for the argument, which jsonb_out takes only if it is not null; the text is in memory
    // that lives as long as the call.
    unsafe {
        let document = argument::datum(fcinfo, index)?;
        let text: &'a CStr = pgrx::direct_function_call(pg_sys::jsonb_out, &[Some(document)])?;
        Some(Json::new(text.to_bytes()))
    }
}

/// Applies one patch: `first` is the key, or key and fields, `second` the fields, `expected` the version that a compare-and-set expects.
///
/// # Safety
/// `fcinfo` must be of a function with these results and the table as first argument.
unsafe fn single(
    fcinfo: pg_sys::FunctionCallInfo,
    kind: PatchKind,
    first: Json<'_>,
    second: Option<Json<'_>>,
    expected: Option<Option<i64>>,
) -> Result<pg_sys::Datum, Failure> {
    sqlstate::preserving(|| {
        let _kept = Kept::keep();
        // SAFETY: the caller vouches for arguments and results. What goes into the result is copied out of memory
        // that ends with SPI.
        unsafe {
            let table = argument::<pg_sys::Oid>(fcinfo, 0).ok_or_else(|| argument::null("tbl"))?;
            let outside = pg_sys::CurrentMemoryContext;
            let (record, row) = Spi::connect_mut(|_| {
                let target = target(table)?;
                let shape = Shape::new(kind, fields(&target, kind, first, second)?);
                whole_key(&target, first)?;
                let hlc = target.stamp_now(travelling(first, second, 0, expected))?;
                let rows = travelling(first, second, hlc, expected);
                let part = Part::new(&target, &shape, rows, hlc)?;
                Ok((apply_alone(&target, part, hlc)?, row_after(&target, rows, outside)?))
            })?;
            record_of(fcinfo, &record, row)
        }
    })
}

/// Applies one patch, in the caller's transaction.
///
/// # Errors
/// When SPI refuses a statement; what statements run into is raised.
pub(super) fn apply_alone(target: &Target, part: Part, hlc: i64) -> Result<Record, Failure> {
    let answers = rounds::run(target, &[part], hlc, Locking { first: false, strict: false, insert_wait: None })?;
    let first = answers.as_deref().and_then(<[_]>::first);
    let record = first.map(|(_, record)| *record).ok_or_else(|| Failure::new(b"XX000", "a patch has no outcome"))?;
    applied::patch(Name::of(TableId(target.layout.table_id), known::incarnation()), &record);
    Ok(record)
}

/// The result `(OUT outcome text, OUT version bigint, OUT row_after jsonb)`.
///
/// # Safety
/// `fcinfo` must be of a function with these results, and the row a jsonb.
pub(super) unsafe fn record_of(
    fcinfo: pg_sys::FunctionCallInfo,
    record: &Record,
    row: Option<pg_sys::Datum>,
) -> Result<pg_sys::Datum, Failure> {
    // SAFETY: the caller vouches for the results.
    unsafe { answer::record(fcinfo, &mut [record.verdict.as_str().into_datum(), version(record), row]) }
}

fn version(record: &Record) -> Option<pg_sys::Datum> {
    (record.version.0 != 0).then(|| record.version.0.into())
}

/// The fields that the documents carry.
fn fields(target: &Target, kind: PatchKind, first: Json<'_>, second: Option<Json<'_>>) -> Result<Vec<String>, Failure> {
    let is_key = |name: &String| target.layout.key.iter().any(|key| key.name == *name);
    let mut first = members(first)?;
    let is_key_alone = second.is_some() || kind == PatchKind::Delete;
    if let Some(name) = first.iter().find(|name| is_key_alone && !is_key(name)) {
        return Err(Failure::new(b"22023", format!("\"{name}\" is no column of the key")));
    }
    first.retain(|name| !is_key(name));
    let Some(second) = second else { return Ok(first) };
    let second = members(second)?;
    match second.iter().find(|name| is_key(name)) {
        Some(name) => Err(Failure::new(b"22023", format!("\"{name}\" is a column of the key and cannot be edited"))),
        None => Ok(second),
    }
}

/// Refuses a document without a column of the key.
fn whole_key(target: &Target, document: Json<'_>) -> Result<(), Failure> {
    let members = members(document)?;
    match target.layout.key.iter().find(|key| !members.contains(&key.name)) {
        Some(key) => Err(Failure::new(b"22023", format!("the key's column \"{}\" is missing", key.name))),
        None => Ok(()),
    }
}

fn members(object: Json<'_>) -> Result<Vec<String>, Failure> {
    if !object.is_object() {
        return Err(Failure::new(b"22023", "a key, document or patch must be a JSON object"));
    }
    Ok(object.members().map(|(key, _)| unescaped(key).into_owned()).collect())
}

/// The patch as it would travel.
fn travelling(first: Json<'_>, second: Option<Json<'_>>, stamp: i64, expected: Option<Option<i64>>) -> pg_sys::Datum {
    let mut row = format!("[{{\"#\":0,\"@\":{stamp}").into_bytes();
    if let Some(expected) = expected {
        let version = expected.map_or_else(|| "null".to_owned(), |version| version.to_string());
        row.extend_from_slice(format!(",\"=\":{version}").as_bytes());
    }
    for object in std::iter::once(first).chain(second) {
        let members = object.text()[1..object.text().len() - 1].trim_ascii();
        if !members.is_empty() {
            row.push(b',');
            row.extend_from_slice(members);
        }
    }
    row.extend_from_slice(b"}]");
    value::bytea(&row)
}

/// The row as it is now, without the columns that are ours.
///
/// # Safety
/// `rows` must be a json array of one patch.
pub(super) unsafe fn row_after(
    target: &Target,
    rows: pg_sys::Datum,
    context: pg_sys::MemoryContext,
) -> Result<Option<pg_sys::Datum>, Failure> {
    let mut after = None;
    // SAFETY: the argument is json; the copy is made in memory that outlives SPI.
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
