//! The hashes by which the feed names keys and tags, for those who ask.

use super::subscription::Subscription;
use crate::call::answer;
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::pg::failure::Failure;
use crate::pg::rights::name_of;
use crate::pg::{sqlstate, value};
use crate::tables::catalog::{self, Locked};
use crate::tables::key::HashedColumn;
use crate::tables::known;
use crate::tables::table::Table;
use cache_sync_core::json::{Json, unescaped};
use cache_sync_core::number::TableId;
use pgrx::{IntoDatum, PgRelation, pg_sys};
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::rc::Rc;

sql_functions! {
    /// `key_hash(tbl regclass, key jsonb) -> bigint`, strict
    fn key_hash / pg_finfo_key_hash(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in, and with these arguments.
        let (relid, key) = unsafe { (argument::<pg_sys::Oid>(fcinfo, 0), argument::datum(fcinfo, 1)) };
        sqlstate::preserving(|| match (relid, key) {
            // SAFETY: as above: the key is a jsonb.
            (Some(relid), Some(key)) => hash(relid, Json::new(unsafe { value::text_of_jsonb(key) }.as_bytes())),
            _ => Err(Failure::new(b"22004", "table and key must not be null")),
        })
    }

    /// `table_secret(table_id integer) -> bytea`, strict; for `description` alone
    fn table_secret / pg_finfo_table_secret(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares this argument.
            let id = TableId(unsafe { argument(fcinfo, 0) }.unwrap_or_default());
            let secret = known::secret(Locked::Wait).ok_or_else(|| Failure::new(b"55000", "the secret is gone"))?;
            answer::value(secret.key.of_table(id).0.to_vec().into_datum())
        })
    }

    /// `tag_hash(tbl regclass, tag name, value text) -> bigint`
    fn tag_hash / pg_finfo_tag_hash(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares these arguments; a name is a zero-terminated string.
            unsafe {
                let relid = argument(fcinfo, 0).ok_or_else(|| argument::null("tbl"))?;
                let tag = argument::datum(fcinfo, 1).ok_or_else(|| argument::null("tag"))?;
                let tag = CStr::from_ptr(tag.cast_mut_ptr()).to_string_lossy();
                hash_of_tag(relid, &tag, argument(fcinfo, 2))
            }
        })
    }
}

/// An attached table that the caller may read. It is kept locked while it is used.
///
/// # Errors
/// When it is not, or the caller may not: whoever knows how keys are hashed could tell from the feed which ones others change.
fn open_readable(relid: pg_sys::Oid) -> Result<(PgRelation, Rc<Table>), Failure> {
    let attached = catalog::attached(None, Locked::Wait).unwrap_or_default();
    let attached = attached
        .iter()
        .find(|table| table.relid == relid)
        .ok_or_else(|| Failure::new(b"CS005", format!("{} is not attached", name_of(relid))))?;
    Subscription::new(Some(vec![attached.id]))?;
    // SAFETY: the table is there, as the check above found.
    let relation = unsafe { PgRelation::with_lock(relid, pg_sys::AccessShareLock as i32) };
    // SAFETY: just opened.
    let table = unsafe { known::of(relation.as_ptr(), attached.id) };
    Ok((relation, table))
}

/// The hash of a tag's value, given as its type's text.
fn hash_of_tag(relid: pg_sys::Oid, tag: &str, value: Option<String>) -> Result<pg_sys::Datum, Failure> {
    let (relation, table) = open_readable(relid)?;
    let descriptor = relation.tuple_desc();
    let name = |attnum: i16| descriptor.get(attnum as usize - 1).map(|attribute| attribute.name());
    let place = table.tags.iter().position(|column| name(column.attnum) == Some(tag));
    let place = place.ok_or_else(|| {
        Failure::new(b"42703", format!("\"{tag}\" is no tag of {}", name_of(relid)))
            .hint("SELECT cache_sync.set_tags(...) with the columns on which queries depend.")
    })?;
    let value = value.map(|value| read(&relation, table.tags[place].attnum, &value)).transpose()?;
    // SAFETY: the value was read by its column's type.
    let hash = unsafe { table.tag_hash(place, value) };
    let hash = hash.ok_or_else(|| Failure::new(b"55006", format!("the type of the tag \"{tag}\" is being altered")))?;
    Ok(pg_sys::Datum::from(hash.0 as i64))
}

/// The hash of a key given as JSON object of the key's columns.
fn hash(relid: pg_sys::Oid, key: Json<'_>) -> Result<pg_sys::Datum, Failure> {
    let (relation, table) = open_readable(relid)?;
    if !key.is_object() {
        return Err(Failure::new(b"22023", "the key must be a JSON object of its columns"));
    }
    let members: Vec<KeyMember<'_>> = key.members().map(|(name, value)| (unescaped(name), value)).collect();
    if table.key.is_empty() || members.len() != table.key.len() {
        return Err(Failure::new(b"22023", "the key must have exactly the columns of the table's primary key"));
    }
    let mut values = Vec::with_capacity(table.key.len());
    for column in &table.key {
        values.push(value_of(&relation, *column, &members)?);
    }
    // SAFETY: each value was read by its column's type.
    let hash = unsafe { table.hash(|place, _| values[place]) };
    Ok(pg_sys::Datum::from(hash.0 as i64))
}

/// A member of a key: the column, and its value as it stands there, so that no number is rounded.
type KeyMember<'a> = (Cow<'a, str>, Json<'a>);

/// The value of a key's column, read by its type's input function.
fn value_of(relation: &PgRelation, column: HashedColumn, members: &[KeyMember<'_>]) -> Result<pg_sys::Datum, Failure> {
    let descriptor = relation.tuple_desc();
    let attribute = descriptor
        .get(column.attnum as usize - 1)
        .ok_or_else(|| Failure::new(b"XX000", "the table's columns have changed"))?;
    let name = attribute.name();
    let value = members.iter().find(|(member, _)| member == name).map(|(_, value)| value.text());
    let text = match value {
        Some([b'"', text @ .., b'"']) => unescaped(text).into_owned(),
        Some(value @ [b'-' | b'0'..=b'9' | b't' | b'f', ..]) => String::from_utf8_lossy(value).into_owned(),
        _ => return Err(Failure::new(b"22023", format!("the key lacks a value for its column \"{name}\""))),
    };
    read(relation, column.attnum, &text)
}

/// What a column's type makes of a text.
fn read(relation: &PgRelation, attnum: i16, text: &str) -> Result<pg_sys::Datum, Failure> {
    let descriptor = relation.tuple_desc();
    let attribute = descriptor
        .get(attnum as usize - 1)
        .ok_or_else(|| Failure::new(b"XX000", "the table's columns have changed"))?;
    let text = CString::new(text).map_err(|_| Failure::new(b"22P05", "a key cannot contain a zero byte"))?;
    let (mut input, mut parameter, mut modifier) = (pg_sys::InvalidOid, pg_sys::InvalidOid, attribute.atttypmod);
    // SAFETY: the type is that of a column; its input function reads a zero-terminated string or raises an error.
    unsafe {
        // A domain's checks are the business of who writes.
        let base = pg_sys::getBaseTypeAndTypmod(attribute.atttypid, &mut modifier);
        pg_sys::getTypeInputInfo(base, &mut input, &mut parameter);
        Ok(pg_sys::OidInputFunctionCall(input, text.as_ptr().cast_mut(), parameter, modifier))
    }
}
