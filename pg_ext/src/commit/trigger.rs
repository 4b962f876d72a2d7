//! The triggers that note what changes: `note_change` after each row, `note_truncate` after TRUNCATE, and `note_setup`
//! on the extension's own tables; what the one for DDL calls.
//!
//! `note_change` runs once per changed row, so it reads no more than the key's columns and the version, and nothing at
//! all once the whole table counts as changed.

use super::pending;
use crate::call::argument::argument;
use crate::call::function::sql_functions;
use crate::call::triggered;
use crate::pg::failure::Failure;
use crate::pg::slot::Columns;
use crate::ring::hlc;
use crate::tables::catalog::Locked;
use crate::tables::known;
use crate::tables::table::Table;
use cache_sync_core::number::{KeyHash, TableId};
use cache_sync_core::wire::ChangeKind;
use pgrx::pg_sys;

sql_functions! {
    /// AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW; argument 0: the table's number.
    fn note_change / pg_finfo_note_change(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in.
        let (data, id) = unsafe { called_by_trigger(fcinfo)? };
        if !pending::is_flushed(id) {
            // SAFETY: the data of a trigger, which is fired after a row changed.
            unsafe { note(data, id) };
        }
        Ok(pg_sys::Datum::from(0))
    }

    /// AFTER TRUNCATE FOR EACH STATEMENT; argument 0: the table's number.
    fn note_truncate / pg_finfo_note_truncate(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in.
        let (_, id) = unsafe { called_by_trigger(fcinfo)? };
        flush(id);
        Ok(pg_sys::Datum::from(0))
    }

    /// `note_table(table_id integer)`: DDL changed the table as a whole.
    fn note_table / pg_finfo_note_table(fcinfo) {
        // SAFETY: the install script declares this argument, and the function STRICT.
        flush(TableId(unsafe { argument(fcinfo, 0) }.unwrap_or_default()));
        Ok(pg_sys::Datum::from(0))
    }

    /// AFTER any change FOR EACH STATEMENT of the extension's own tables: tells every backend to read them again.
    fn note_setup / pg_finfo_note_setup(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in; a trigger's relation is open.
        unsafe { pg_sys::CacheInvalidateRelcache((*data_after_event(fcinfo)?).tg_relation) };
        Ok(pg_sys::Datum::from(0))
    }
}

/// Notes the change of a whole table where no row of it was looked at, so that nothing may be known of this database yet.
fn flush(id: TableId) {
    let _ = known::secret(Locked::GiveUp);
    pending::flush(id);
}

/// # Safety
/// `fcinfo` must be what Postgres called a function with.
#[inline]
unsafe fn data_after_event(fcinfo: pg_sys::FunctionCallInfo) -> Result<*const pg_sys::TriggerData, Failure> {
    // SAFETY: the caller vouches for `fcinfo`.
    unsafe {
        let Some(data) = triggered::data(fcinfo) else { return Err(called_by_no_trigger()) };
        // What is returned to any other trigger than one that is fired after the event would cancel it.
        if (*data).tg_event & (pg_sys::TRIGGER_EVENT_BEFORE | pg_sys::TRIGGER_EVENT_INSTEAD) != 0 {
            return Err(made_by_somebody("this trigger of cache_sync must be fired after the event"));
        }
        Ok(data)
    }
}

/// # Safety
/// `fcinfo` must be what Postgres called a function with.
#[inline]
unsafe fn called_by_trigger(
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(*const pg_sys::TriggerData, TableId), Failure> {
    // SAFETY: the caller vouches for `fcinfo`, and a trigger's data names its trigger.
    unsafe {
        let data = data_after_event(fcinfo)?;
        let id = triggered::id_of((*data).tg_trigger)
            .ok_or_else(|| made_by_somebody("a trigger of cache_sync lacks its argument"))?;
        Ok((data, id))
    }
}

#[cold]
fn called_by_no_trigger() -> Failure {
    Failure::new(b"39P01", "this function can only be called by a trigger of cache_sync")
}

#[cold]
fn made_by_somebody(message: &str) -> Failure {
    Failure::new(b"39P01", message).hint("Triggers of cache_sync are made by cache_sync.attach() only.")
}

/// # Safety
/// `data` must be that of a trigger fired after a row changed.
#[inline]
unsafe fn note(data: *const pg_sys::TriggerData, id: TableId) {
    // SAFETY: such a trigger's data has its relation open, and the slots of the rows that its event has: the new row of
    // an INSERT and the old one of an UPDATE or DELETE in `tg_trigslot`, the new one of an UPDATE in `tg_newslot`.
    unsafe {
        let table = known::of((*data).tg_relation, id);
        // A trigger that somebody made FOR EACH STATEMENT has no row.
        if table.key.is_empty() || (*data).tg_trigslot.is_null() {
            if !table.is_others {
                pending::flush(id);
            }
            return;
        }
        let row = NotedRow::new((*data).tg_trigslot, &table);
        row.note_tags(id);
        // A row that is gone has no number: an entry of the version that was deleted is no echo of the deletion.
        match (*data).tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_UPDATE => {}
            pg_sys::TRIGGER_EVENT_INSERT => {
                return pending::note(id, row.key(), row.version(), ChangeKind::Unversioned);
            }
            _ => return pending::note(id, row.key(), None, ChangeKind::Unversioned),
        }
        let new = NotedRow::new((*data).tg_newslot, &table);
        new.note_tags(id);
        let key = new.key();
        if row.has_same_key(&new) {
            return pending::note(id, key, new.version(), new.kind_after(&row));
        }
        let old_key = row.key();
        if old_key == key {
            return pending::note(id, key, new.version(), new.kind_after(&row));
        }
        pending::note(id, old_key, None, ChangeKind::Unversioned);
        pending::note(id, key, new.version(), ChangeKind::Unversioned);
    }
}

/// A row, taken apart as far as it is noted.
struct NotedRow<'a> {
    columns: Columns,
    table: &'a Table,
}

impl<'a> NotedRow<'a> {
    /// # Safety
    /// The slot must hold a row of the table, and outlive this.
    #[inline]
    unsafe fn new(slot: *mut pg_sys::TupleTableSlot, table: &'a Table) -> NotedRow<'a> {
        // SAFETY: the caller vouches for the slot; the columns asked for are there, because the table was read anew if
        // it has changed since.
        NotedRow { columns: unsafe { Columns::of(slot, table.last_noted_attnum) }, table }
    }

    #[inline]
    fn key(&self) -> KeyHash {
        // SAFETY: columns of a primary key hold values of their type and no nulls.
        unsafe { self.table.hash(|_, column| self.columns.value(column.attnum)) }
    }

    #[inline]
    fn note_tags(&self, id: TableId) {
        if !self.table.tags.is_empty() {
            self.note_each_tag(id);
        }
    }

    #[inline(never)]
    fn note_each_tag(&self, id: TableId) {
        for (place, tag) in self.table.tags.iter().enumerate() {
            // SAFETY: the tags' columns are among those that are noted, and hold values of their types.
            match unsafe { self.table.tag_hash(place, self.columns.get(tag.attnum)) } {
                Some(hash) => pending::note_tag(id, hash),
                None => pending::flush(id),
            }
        }
    }

    /// Whether the keys are the same as far as that can be seen without hashing them.
    #[inline]
    fn has_same_key(&self, other: &NotedRow<'_>) -> bool {
        // SAFETY: as above.
        let is_same = |attnum: i16| unsafe { self.columns.value(attnum) == other.columns.value(attnum) };
        self.table.key.iter().all(|column| column.kind.is_by_value() && is_same(column.attnum))
    }

    /// What the row's change into this one is. A version says something of order only if it is above the one before, and that one was
    /// not from out of this world.
    #[inline]
    fn kind_after(&self, before: &NotedRow<'_>) -> ChangeKind {
        match (before.version(), self.version()) {
            (Some(old), Some(new)) if old >= new || !hlc::plausible(old) => ChangeKind::Unversioned,
            _ => ChangeKind::Versioned,
        }
    }

    #[inline]
    fn version(&self) -> Option<i64> {
        // SAFETY: the version is one of the columns that are noted, if there is one.
        unsafe { self.columns.get(self.table.version_attnum) }.map(|version| version.value() as i64)
    }
}
