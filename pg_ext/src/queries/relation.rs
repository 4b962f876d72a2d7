//! A table that is read: which attached one it is, and what pins its rows.

use super::answer::{Answer, Pin, Value};
use super::fact::{self, Fact};
use super::scope::Item;
use crate::pg::rights::name_of;
use crate::tables::catalog::{self, Attached, Locked};
use crate::tables::known;
use crate::tables::table::Table;
use pgrx::{PgRelation, pg_sys};
use std::ffi::CStr;

/// The attached tables, as they are now.
pub(super) struct Tables(Vec<Attached>);

impl Tables {
    pub(super) fn new() -> Tables {
        Tables(catalog::attached(None, Locked::Wait).unwrap_or_default())
    }

    /// The attached table that the relation is, or is a partition of.
    fn of(&self, relid: pg_sys::Oid) -> Option<Attached> {
        unsafe extern "C-unwind" {
            fn get_partition_ancestors(relid: pg_sys::Oid) -> *mut pg_sys::List;
        }
        let find = |relid| self.0.iter().find(|table| table.relid == relid).copied();
        // SAFETY: looks the relation up in the system catalogs; of a partition the list of those above it, which are oids.
        find(relid).or_else(|| unsafe {
            if !pg_sys::get_rel_relispartition(relid) {
                return None;
            }
            let above = pg_sys::ffi::pg_guard_ffi_boundary(|| get_partition_ancestors(relid));
            let length = if above.is_null() { 0 } else { (*above).length as usize };
            (0..length).find_map(|place| find((*(*above).elements.add(place)).oid_value))
        })
    }

    /// Notes that a relation is read, of which these facts are known.
    pub(super) fn read(&self, entry: &pg_sys::RangeTblEntry, item: Item, facts: &[Fact], answer: &mut Answer) {
        let Some(attached) = self.of(entry.relid) else {
            let (what, hint) = describe_other(entry);
            return answer.refuse(format!("{what} {}", qualified(entry.relid)), hint);
        };
        if entry.inh && entry.relkind as u8 == pg_sys::RELKIND_RELATION && has_heirs(entry.relid) {
            let hint = "rows of the tables that inherit from it are no rows of the attached table";
            answer.refuse(format!("the table {}, from which others inherit", qualified(entry.relid)), hint);
        }
        // SAFETY: the statement's analysis has locked the relation.
        let table = unsafe {
            let relation = PgRelation::with_lock(entry.relid, pg_sys::AccessShareLock as i32);
            known::of(relation.as_ptr(), attached.id)
        };
        answer.read(attached.id.0, || qualified(attached.relid), pin(&table, item, facts));
    }
}

/// What pins the rows of a table that matter, by the fewest values.
fn pin(table: &Table, item: Item, facts: &[Fact]) -> Pin {
    let values = |attnum: i16| fact::values(facts, item.column(attnum));
    let by_tag = table.tags.iter().filter_map(|tag| {
        let values = values(tag.attnum)?;
        Some((fact::weight(&values), Pin::Tag(name_of_column(table.relid, tag.attnum), values)))
    });
    let by_key = keys(table.key.iter().map(|column| values(column.attnum)).collect());
    // However many columns it has, a key is one value.
    let weight = |key: &Vec<Value>| if key.len() == 1 { fact::weight(key) } else { 1 };
    let by_key = by_key.map(|keys| (keys.iter().map(weight).sum(), Pin::Keys(keys)));
    by_key.into_iter().chain(by_tag).min_by_key(|(weight, _)| *weight).map_or(Pin::Nothing, |(_, pin)| pin)
}

/// The keys, if there are few: one, or those of a key with a single column.
fn keys(columns: Option<Vec<Vec<Value>>>) -> Option<Vec<Vec<Value>>> {
    let columns = columns.filter(|columns| !columns.is_empty())?;
    if let [values] = &*columns {
        return Some(values.iter().map(|value| vec![value.clone()]).collect());
    }
    let only = |values: Vec<Value>| match <[Value; 1]>::try_from(values) {
        Ok([value]) if !matches!(value, Value::EachOf(_)) => Some(value),
        _ => None,
    };
    columns.into_iter().map(only).collect::<Option<Vec<_>>>().map(|key| vec![key])
}

/// What a relation is of which nobody hears, and what could be done.
fn describe_other(entry: &pg_sys::RangeTblEntry) -> (&'static str, &'static str) {
    // SAFETY: looked up in the system catalogs.
    let (schema, persistence) =
        unsafe { (pg_sys::get_rel_namespace(entry.relid), pg_sys::get_rel_persistence(entry.relid) as u8) };
    let is_catalog =
        entry.relid.to_u32() < pg_sys::FirstNormalObjectId || schema == pg_sys::Oid::from(pg_sys::PG_CATALOG_NAMESPACE);
    match entry.relkind as u8 {
        _ if is_catalog => ("the system catalog", "nobody tells when it changes"),
        pg_sys::RELKIND_MATVIEW => {
            ("the materialized view", "nobody tells when it is refreshed; ask the tables that it is made of")
        }
        pg_sys::RELKIND_FOREIGN_TABLE => ("the foreign table", "nobody here tells when it changes"),
        pg_sys::RELKIND_SEQUENCE => ("the sequence", "nobody tells when it goes on"),
        _ if persistence == pg_sys::RELPERSISTENCE_TEMP => ("the temporary table", "only this session has it"),
        _ => ("the table", "it is not attached: SELECT cache_sync.attach(...)"),
    }
}

fn has_heirs(relid: pg_sys::Oid) -> bool {
    unsafe extern "C-unwind" {
        fn find_inheritance_children(parent: pg_sys::Oid, lock: i32) -> *mut pg_sys::List;
    }
    // SAFETY: looks the relation up in the system catalogs; without a lock mode nothing is locked.
    unsafe { !pg_sys::ffi::pg_guard_ffi_boundary(|| find_inheritance_children(relid, 0)).is_null() }
}

fn name_of_column(relid: pg_sys::Oid, attnum: i16) -> String {
    // SAFETY: looks the column up in the system catalogs; null for one that is not there, else a new string.
    let name = unsafe { pg_sys::get_attname(relid, attnum, true) };
    // SAFETY: as above.
    if name.is_null() { String::new() } else { unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned() }
}

/// A relation's name, quoted and qualified.
fn qualified(relid: pg_sys::Oid) -> String {
    // SAFETY: looked up in the system catalogs; null for what is not there, else new strings.
    unsafe {
        let (schema, name) =
            (pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relid)), pg_sys::get_rel_name(relid));
        if schema.is_null() || name.is_null() {
            return name_of(relid);
        }
        CStr::from_ptr(pg_sys::quote_qualified_identifier(schema, name)).to_string_lossy().into_owned()
    }
}
