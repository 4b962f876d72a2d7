//! Reads the extension's own tables, straight from the heap: row triggers need what is in them for writers who have no
//! rights on them, and without any of the operators and functions that a query would look up.

use cache_sync_core::key::HashKey;
use cache_sync_core::number::{FieldId, TableId};
use cache_sync_core::rule::Rule;
use pgrx::{FromDatum, JsonB, pg_sys, varlena};
use std::ffi::{CStr, CString};

/// The schema of the extension; its control file fixes it.
const SCHEMA: &CStr = c"cache_sync";
/// The function of `integer = integer`.
const INT4_EQ: pg_sys::Oid = pg_sys::Oid::from_u32(65);
/// That of `uuid = uuid`.
const UUID_EQ: pg_sys::Oid = pg_sys::Oid::from_u32(2956);

/// What to do when somebody holds a lock that keeps readers out (DROP EXTENSION does).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    /// Wait, as a query would.
    Wait,
    /// Do without: a writer of an attached table must neither wait for our tables nor deadlock over them.
    GiveUp,
}

/// The database's secret, made of the one that is stored and the database's number: CREATE DATABASE ... TEMPLATE copies what is
/// stored, and two databases must not be taken for each other.
#[derive(Clone, Copy)]
pub(crate) struct Secret {
    /// Which secret this is; another one after the extension was created anew. Below 2^53.
    pub(crate) id: i64,
    /// The secret.
    pub(crate) key: HashKey,
}

impl Secret {
    fn of_this_database(stored_id: i64, stored_key: HashKey) -> Secret {
        // SAFETY: a plain read of the number of the database that this backend is connected to.
        let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
        let spread = u64::from(database).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12;
        Secret { id: stored_id ^ spread.cast_signed(), key: stored_key.of_database(database) }
    }

    /// Tells this database's secret from those that it had before the extension was created anew; never 0.
    pub(super) fn incarnation(&self) -> u32 {
        ((self.id ^ (self.id >> 32)) as u32).max(1)
    }
}

/// A row of `attached`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// Its number.
    pub(crate) id: TableId,
    /// The table.
    pub(crate) relid: pg_sys::Oid,
    /// The table's oid when its fields were last matched with its columns; another one after a restore.
    pub(crate) matched_relid: pg_sys::Oid,
    /// Whether its rows have versions.
    pub(crate) versioned: bool,
    /// Whether its primary key is another one than when it was attached.
    pub(crate) rekeyed: bool,
}

/// A tag of an attached table.
#[derive(Clone, Debug)]
pub(crate) struct TagRow {
    /// Its column in the attached table, as long as that keeps its oid; 0 where it has yet to be matched.
    pub(crate) attnum: i16,
    /// The column's name when last matched.
    pub(crate) name: CString,
}

/// A row of `field`.
#[derive(Clone, Debug)]
pub(crate) struct FieldRow {
    /// Its number within the table.
    pub(crate) id: FieldId,
    /// Its column in the attached table, as long as that keeps its oid.
    pub(crate) attnum: i16,
    /// The column's name when last matched.
    pub(crate) name: String,
    /// How it merges.
    pub(crate) rule: Rule,
}

/// The secret, or `None` when the extension is not there or its tables are locked.
pub(crate) fn secret(locked: Locked) -> Option<Secret> {
    let table = OpenTable::open(c"secret", locked)?;
    let mut secret = None;
    table.scan(None, |row| {
        let key = row.bytes(3).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        if let (Some(id), Some(key)) = (row.get::<i64>(2), key) {
            secret = Some(Secret::of_this_database(id, HashKey(key)));
        }
    });
    secret
}

/// All attached tables, or the one of a number; `None` when the extension is not there or its tables are locked.
pub(crate) fn attached(id: Option<TableId>, locked: Locked) -> Option<Vec<Attached>> {
    let table = OpenTable::open(c"attached", locked)?;
    let mut all = Vec::new();
    table.scan(id, |row| {
        let columns = (row.get(1), row.get(2), row.get(3), row.get(4));
        if let (Some(id), Some(relid), Some(matched_relid), Some(versioned)) = columns {
            let rekeyed = row.get(9).unwrap_or(false);
            all.push(Attached { id: TableId(id), relid, matched_relid, versioned, rekeyed });
        }
    });
    Some(all)
}

/// The tags of a table, in their order; `None` when the extension is not there or its tables are locked.
pub(crate) fn tags(id: TableId, locked: Locked) -> Option<Vec<TagRow>> {
    let table = OpenTable::open(c"attached", locked)?;
    let mut all = Vec::new();
    table.scan(Some(id), |row| {
        let attnums: Vec<Option<i16>> = row.get(10).unwrap_or_default();
        let attnum = |place: usize| attnums.get(place).copied().flatten().unwrap_or(0);
        let names = row.names(5).into_iter().enumerate();
        all.extend(names.map(|(place, name)| TagRow { attnum: attnum(place), name }));
    });
    Some(all)
}

/// The fields of a table that are not dropped; `None` when the extension is not there or its tables are locked.
pub(crate) fn fields(id: TableId, locked: Locked) -> Option<Vec<FieldRow>> {
    let table = OpenTable::open(c"field", locked)?;
    let mut all = Vec::new();
    table.scan(Some(id), |row| {
        let rule = row.get::<JsonB>(5).and_then(|rule| serde_json::from_value(rule.0).ok());
        let columns = (row.get(2), row.get(3), row.name(4), rule, row.get(6));
        if let (Some(id), Some(attnum), Some(name), Some(rule), Some(false)) = columns {
            all.push(FieldRow { id: FieldId(id), attnum, name, rule });
        }
    });
    Some(all)
}

/// A client's place in its line of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionRow {
    pub(crate) last_seq: i64,
    pub(crate) stretch: i64,
}

/// As of when a row is read.
#[derive(Clone, Copy)]
pub(crate) enum AsOf {
    /// What the query sees that called us.
    Query,
    /// What is committed by now.
    Now,
}

/// The row of a session's newest stretch; `None` when there is no such session, or the extension is not there.
///
/// # Safety
/// `session` must be a uuid.
pub(crate) unsafe fn newest_stretch(session: pg_sys::Datum, table_id: i32, as_of: AsOf) -> Option<SessionRow> {
    let table = OpenTable::open(c"session", Locked::Wait)?;
    let mut keys = [pg_sys::ScanKeyData::default(), pg_sys::ScanKeyData::default()];
    let mut newest = None;
    // SAFETY: the relation is open and locked, and the snapshot registered while the scan uses it. The first columns of table and primary
    // key are a uuid, for which the caller vouches, and an integer; the last one of the key is the stretch.
    unsafe {
        let equal = pg_sys::BTEqualStrategyNumber as u16;
        pg_sys::ScanKeyInit(&mut keys[0], 1, equal, UUID_EQ, session);
        pg_sys::ScanKeyInit(&mut keys[1], 2, equal, INT4_EQ, pg_sys::Datum::from(table_id));
        let snapshot = pg_sys::RegisterSnapshot(match as_of {
            AsOf::Query => pg_sys::GetActiveSnapshot(),
            AsOf::Now => pg_sys::GetLatestSnapshot(),
        });
        pg_sys::list_free(pg_sys::RelationGetIndexList(table.relation));
        let index = pg_sys::index_open((*table.relation).rd_pkindex, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::systable_beginscan_ordered(table.relation, index, snapshot, 2, keys.as_mut_ptr());
        let tuple = pg_sys::systable_getnext_ordered(scan, pg_sys::ScanDirection::BackwardScanDirection);
        if !tuple.is_null() {
            let mut row = HeapRow::new((*table.relation).rd_att);
            row.take(tuple);
            newest = row.get(4).zip(row.get(8)).map(|(last_seq, stretch)| SessionRow { last_seq, stretch });
        }
        pg_sys::systable_endscan_ordered(scan);
        pg_sys::index_close(index, pg_sys::AccessShareLock as i32);
        pg_sys::UnregisterSnapshot(snapshot);
    }
    newest
}

/// The oid of one of the extension's tables.
pub(crate) fn relid(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: both look names up in the system catalogs and return InvalidOid for what is not there.
    let relid = unsafe { pg_sys::get_relname_relid(name.as_ptr(), pg_sys::get_namespace_oid(SCHEMA.as_ptr(), true)) };
    (relid != pg_sys::InvalidOid).then_some(relid)
}

/// One of the extension's tables, open and locked against being dropped.
struct OpenTable {
    relation: pg_sys::Relation,
}

impl OpenTable {
    fn open(name: &CStr, locked: Locked) -> Option<OpenTable> {
        const LOCK: i32 = pg_sys::AccessShareLock as i32;
        let relid = relid(name)?;
        // SAFETY: locks may be taken in any transaction; try_relation_open returns null for a relation that was
        // dropped before we had the lock, and then keeps none.
        let relation = unsafe {
            if locked == Locked::Wait {
                pg_sys::LockRelationOid(relid, LOCK);
            } else if !pg_sys::ConditionalLockRelationOid(relid, LOCK) {
                return None;
            }
            pg_sys::try_relation_open(relid, LOCK)
        };
        // SAFETY: the lock taken first; try_relation_open took another one of its own.
        unsafe { pg_sys::UnlockRelationOid(relid, LOCK) };
        (!relation.is_null()).then_some(OpenTable { relation })
    }

    /// Calls `each` for every row, or for those whose first column, an integer, is `id`.
    fn scan(&self, id: Option<TableId>, mut each: impl FnMut(&HeapRow)) {
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: the relation is open and locked. The snapshot is registered while the scan uses it, and it is the
        // latest one, because a transaction's own may be older than what made the caller look. Both tables that are
        // scanned by id have their integer id as first column of table and primary key.
        unsafe {
            let mut key_count = 0;
            let mut index = pg_sys::InvalidOid;
            if let Some(id) = id {
                let equal = pg_sys::BTEqualStrategyNumber as u16;
                pg_sys::ScanKeyInit(&mut key, 1, equal, INT4_EQ, pg_sys::Datum::from(id.0));
                pg_sys::list_free(pg_sys::RelationGetIndexList(self.relation));
                index = (*self.relation).rd_pkindex;
                key_count = 1;
            }
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
            let by_index = index != pg_sys::InvalidOid;
            let scan = pg_sys::systable_beginscan(self.relation, index, by_index, snapshot, key_count, &mut key);
            let mut row = HeapRow::new((*self.relation).rd_att);
            loop {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                row.take(tuple);
                each(&row);
            }
            pg_sys::systable_endscan(scan);
            pg_sys::UnregisterSnapshot(snapshot);
        }
    }
}

impl Drop for OpenTable {
    fn drop(&mut self) {
        // After an error the transaction's abort closes the relation and releases the lock.
        if !std::thread::panicking() {
            // SAFETY: opened in `open` with the same lock.
            unsafe { pg_sys::relation_close(self.relation, pg_sys::AccessShareLock as i32) };
        }
    }
}

/// A row, taken apart. Columns count from 1, as the install script declares them.
struct HeapRow {
    descriptor: pg_sys::TupleDesc,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl HeapRow {
    fn new(descriptor: pg_sys::TupleDesc) -> HeapRow {
        // SAFETY: the descriptor of a relation that stays open as long as the row is used.
        let columns = unsafe { (*descriptor).natts } as usize;
        HeapRow { descriptor, values: vec![pg_sys::Datum::from(0); columns], nulls: vec![true; columns] }
    }

    fn take(&mut self, tuple: pg_sys::HeapTuple) {
        // SAFETY: the tuple is of this descriptor, and both arrays have as many elements as it has columns.
        unsafe {
            pg_sys::heap_deform_tuple(tuple, self.descriptor, self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
        }
    }

    fn datum(&self, column: usize) -> Option<pg_sys::Datum> {
        (!*self.nulls.get(column - 1)?).then(|| self.values[column - 1])
    }

    fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: the install script declares the column with the type that the caller names.
        unsafe { T::from_datum(self.datum(column)?, false) }
    }

    fn bytes(&self, column: usize) -> Option<&[u8]> {
        let datum = self.datum(column)?;
        // SAFETY: a bytea column; the detoasted copy, or the row itself, outlives the use of the row.
        unsafe { Some(varlena::varlena_to_byte_slice(pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr()))) }
    }

    /// The elements of an array of names.
    fn names(&self, column: usize) -> Vec<CString> {
        let Some(datum) = self.datum(column) else { return Vec::new() };
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: a column of type name[]: its elements are zero-terminated strings of fixed size, as long as the detoasted
        // array lives.
        unsafe {
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            let align = pg_sys::TYPALIGN_CHAR as std::ffi::c_char;
            let length = pg_sys::NAMEDATALEN as i32;
            pg_sys::deconstruct_array(
                array,
                pg_sys::NAMEOID,
                length,
                false,
                align,
                &mut values,
                &mut nulls,
                &mut count,
            );
            (0..count as usize)
                .filter(|place| !*nulls.add(*place))
                .map(|place| CStr::from_ptr((*values.add(place)).cast_mut_ptr()).to_owned())
                .collect()
        }
    }

    fn name(&self, column: usize) -> Option<String> {
        // SAFETY: a column of type name: a zero-terminated string of fixed size.
        let name = unsafe { CStr::from_ptr(self.datum(column)?.cast_mut_ptr()) };
        Some(name.to_string_lossy().into_owned())
    }
}
