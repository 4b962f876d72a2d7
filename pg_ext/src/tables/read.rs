//! Reads what there is to know of an attached table.

use super::catalog::{self, Attached, Locked, Secret};
use super::key::{HashedColumn, KeyKind};
use super::table::{HashedColumns, Stamped, Table};
use super::tag::{Tag, TagKind};
use crate::pg::descriptor;
use cache_sync_core::key::HashKey;
use cache_sync_core::number::TableId;
use cache_sync_core::rule::Rule;
use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_char};

/// Reads table `id`, whose triggers `relation` carries, and says whether the result may be kept.
///
/// A table that the extension's tables do not mention, because it is being detached or the row triggers were left
/// behind, comes without key and fields; one whose primary key is another one than clients know comes without key, as does a relation
/// that is no part of the table with this number.
///
/// # Safety
/// The relation must be open.
pub(super) unsafe fn table(relation: pg_sys::Relation, id: TableId, secret: Option<Secret>) -> (Table, bool) {
    // SAFETY: the caller vouches for the relation.
    let (relid, key) = unsafe { ((*relation).rd_id, primary_key(relation)) };
    let row = catalog::attached(Some(id), Locked::GiveUp).map(|rows| rows.first().copied());
    let fields = catalog::fields(id, Locked::GiveUp);
    let tag_rows = catalog::tags(id, Locked::GiveUp);
    let is_certain = secret.is_some() && row.is_some() && fields.is_some() && tag_rows.is_some();
    let attached = row.flatten();
    // A plain table may have a column of that name, which then means nothing to us.
    let own_column = |name, type_oid| match &attached {
        Some(attached) if !attached.versioned => 0,
        // SAFETY: as above.
        _ => unsafe { own_column(relation, name, type_oid) },
    };
    let version_attnum = own_column(c"cs_version", pg_sys::INT8OID);
    let clock_attnum = own_column(c"cs_clock", pg_sys::BYTEAOID);
    // SAFETY: as above.
    let is_others = attached.is_some_and(|attached| unsafe { !is_part_of(relation, attached.relid) });
    let is_known = secret.is_some() && attached.is_some_and(|attached| !attached.rekeyed) && !is_others;
    let tags = match (&attached, tag_rows) {
        // SAFETY: as above.
        (Some(attached), Some(rows)) => rows.iter().map(|row| unsafe { tag(relation, attached, row) }).collect(),
        _ => None,
    };
    // Where a tag's values cannot be told, whoever depends on them must take the whole table for changed.
    let tags: Option<Vec<Tag>> = tags.filter(|_| is_known);
    let (key, tags) = tags.map_or_else(Default::default, |tags| (key, tags));
    let noted = key.iter().map(|column| column.attnum).chain(tags.iter().map(|tag| tag.attnum));
    let last_noted_attnum = noted.max().unwrap_or(0).max(version_attnum);
    let stamped = match (&attached, fields) {
        // SAFETY: as above.
        (Some(attached), Some(rows)) => unsafe { stamped(relation, attached, &rows) },
        _ => Vec::new(),
    };
    let table = Table {
        id,
        relid,
        is_others,
        key,
        version_attnum,
        clock_attnum,
        versioned: attached.is_some_and(|attached| attached.versioned),
        stamped,
        tags,
        last_noted_attnum,
        hash_key: secret.map_or(HashKey([0; 16]), |secret| secret.key.of_table(id)),
    };
    (table, is_certain)
}

/// Whether the relation is that table or one of its partitions. A partition that was detached has kept triggers, and anybody may make
/// such a trigger under the number of any table.
///
/// # Safety
/// The relation must be open.
unsafe fn is_part_of(relation: pg_sys::Relation, table: pg_sys::Oid) -> bool {
    unsafe extern "C-unwind" {
        fn get_partition_ancestors(relid: pg_sys::Oid) -> *mut pg_sys::List;
    }
    // SAFETY: the caller vouches for the relation; its ancestors are looked up in the system catalogs, none for one that is no partition.
    unsafe {
        let relid = (*relation).rd_id;
        relid == table
            || (*(*relation).rd_rel).relispartition && {
                let ancestors = pg_sys::ffi::pg_guard_ffi_boundary(|| get_partition_ancestors(relid));
                pg_sys::list_member_oid(ancestors, table)
            }
    }
}

/// The columns of the primary key; empty when there is none or one column is of a type that cannot be hashed.
///
/// A partition's primary key is part of the attached table's and has the same columns in the same order.
///
/// # Safety
/// The relation must be open.
unsafe fn primary_key(relation: pg_sys::Relation) -> HashedColumns {
    // SAFETY: the relation is open, so its list of indexes may be asked for; a row of pg_index stays pinned until it
    // is released, and `indkey` has as many numbers as the index has columns, the key columns first.
    unsafe {
        pg_sys::list_free(pg_sys::RelationGetIndexList(relation));
        let index = (*relation).rd_pkindex;
        if index == pg_sys::InvalidOid {
            return HashedColumns::new();
        }
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::INDEXRELID as i32, pg_sys::Datum::from(index));
        if row.is_null() {
            return HashedColumns::new();
        }
        let index = pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_index>();
        let attnums = (*index).indkey.values.as_slice((*index).indnkeyatts as usize).to_vec();
        pg_sys::ReleaseSysCache(row);
        let column = |attnum: i16| {
            let kind = KeyKind::of(column_type((*relation).rd_att, attnum)?)?;
            Some(HashedColumn { attnum, kind })
        };
        attnums.into_iter().map(column).collect::<Option<_>>().unwrap_or_default()
    }
}

/// # Safety
/// The descriptor must be that of an open relation.
unsafe fn column_type(descriptor: pg_sys::TupleDesc, attnum: i16) -> Option<pg_sys::Oid> {
    // SAFETY: the caller vouches for the descriptor, and the number is checked against its columns.
    unsafe {
        (attnum >= 1 && i32::from(attnum) <= (*descriptor).natts)
            .then(|| (*descriptor::column(descriptor, i32::from(attnum) - 1)).atttypid)
    }
}

/// The number of a column that `attach` added, or 0.
///
/// # Safety
/// The relation must be open.
unsafe fn own_column(relation: pg_sys::Relation, name: &CStr, type_oid: pg_sys::Oid) -> i16 {
    // SAFETY: the caller vouches for the relation.
    unsafe {
        let attnum = attnum(relation, name);
        if column_type((*relation).rd_att, attnum) == Some(type_oid) { attnum } else { 0 }
    }
}

/// The number of a column, or 0.
///
/// # Safety
/// The relation must be open.
unsafe fn attnum(relation: pg_sys::Relation, name: &CStr) -> i16 {
    // SAFETY: the caller vouches for the relation, and the numbers asked for are those of its columns.
    unsafe {
        let descriptor = (*relation).rd_att;
        (0..(*descriptor).natts)
            .map(|place| &*descriptor::column(descriptor, place))
            .find(|column| !column.attisdropped && CStr::from_ptr(column.attname.data.as_ptr()) == name)
            .map_or(0, |column| column.attnum)
    }
}

/// A tag in the relation; `None` when its column is gone or of a type that cannot be one.
///
/// # Safety
/// The relation must be open.
unsafe fn tag(relation: pg_sys::Relation, attached: &Attached, row: &catalog::TagRow) -> Option<Tag> {
    // SAFETY: the caller vouches for the relation, whose column this is.
    unsafe {
        let name = match name_by_number(attached, row.attnum) {
            Matched::No => row.name.clone(),
            Matched::Gone => return None,
            Matched::As(name) => name,
        };
        let attnum = attnum(relation, &name);
        let kind = TagKind::of(column_type((*relation).rd_att, attnum)?)?;
        let is_virtual =
            (*descriptor::column((*relation).rd_att, i32::from(attnum) - 1)).attgenerated == b'v' as c_char;
        (!is_virtual).then_some(Tag { attnum, kind })
    }
}

/// What became of a column that was matched by number.
enum Matched {
    /// It has yet to be matched, by its name.
    No,
    Gone,
    /// It is called so now.
    As(CString),
}

fn name_by_number(attached: &Attached, attnum: i16) -> Matched {
    if attached.relid != attached.matched_relid || attnum == 0 {
        return Matched::No;
    }
    // SAFETY: get_attname looks the column up and returns null for one that is not there, else a new string.
    unsafe {
        let name = pg_sys::get_attname(attached.relid, attnum, true);
        if name.is_null() { Matched::Gone } else { Matched::As(CStr::from_ptr(name).to_owned()) }
    }
}

/// The fields of the relation that have stamps, without generated columns, which are computed after all triggers. Their
/// columns are known by number in the attached table, or by name after it was restored and so has another oid; a
/// partition has them by name.
///
/// # Safety
/// The relation must be open.
unsafe fn stamped(relation: pg_sys::Relation, attached: &Attached, rows: &[catalog::FieldRow]) -> Vec<Stamped> {
    rows.iter()
        .filter(|row| row.rule.is_stamped())
        .filter_map(|row| {
            let name = match name_by_number(attached, row.attnum) {
                Matched::No => CString::new(row.name.as_str()).ok()?,
                Matched::Gone => return None,
                Matched::As(name) => name,
            };
            // SAFETY: the caller vouches for the relation, whose column this is.
            unsafe {
                let attnum = attnum(relation, &name);
                let column = &*descriptor::column((*relation).rd_att, i32::from((attnum > 0).then(|| attnum - 1)?));
                let (is_by_value, length) = (column.attbyval, column.attlen);
                // A document in a column that no longer holds documents is a value like others.
                let is_document = matches!(row.rule, Rule::Json(_));
                let holds_documents = pg_sys::getBaseType(column.atttypid) == pg_sys::JSONBOID;
                let rule = if is_document && !holds_documents { Rule::Lww } else { row.rule.clone() };
                (column.attgenerated == 0).then_some(Stamped { id: row.id, attnum, is_by_value, length, rule })
            }
        })
        .collect()
}
