//! The trigger that gives every UPDATE of a versioned table its version and keeps the row's clock, and sees that a row that plain SQL
//! inserts is written now, whatever version and clock it carries.
//!
//! It runs BEFORE the event, after every trigger of the user's, and so sees what is going to be stored; of an UPDATE, under the
//! row's lock, also what that replaces.

use crate::call::function::sql_functions;
use crate::call::triggered;
use crate::pg::backend::OfBackend;
use crate::pg::failure::Failure;
use crate::pg::slot::Columns;
use crate::pg::value;
use crate::ring::hlc;
use crate::rules::{clock, document};
use crate::tables::known;
use crate::tables::table::{Stamped, Table};
use cache_sync_core::clock::Clock;
use cache_sync_core::number::{Stamp, TableId, Version};
use cache_sync_core::rule::Rule;
use pgrx::pg_sys;
use std::cell::Cell;

/// What the trigger saw last. RETURNING reads it: a row's RETURNING list is evaluated right after its own triggers.
#[derive(Clone, Copy)]
struct LastUpdate {
    replaced: i64,
    tied: bool,
}

static LAST: OfBackend<Cell<LastUpdate>> = OfBackend::new(Cell::new(LastUpdate { replaced: 0, tied: false }));

/// A partition's row that was updated: the command may move it to another partition of the table, which inserts it there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Moving {
    table: TableId,
    version: i64,
    transaction: pg_sys::TransactionId,
    command: pg_sys::CommandId,
}

impl Moving {
    /// # Safety
    /// To be called by a row trigger of an UPDATE or INSERT.
    unsafe fn now(table: &Table, version: i64) -> Moving {
        // SAFETY: such a command has a snapshot, and the row's lock has a transaction. The snapshot is the same however many commands
        // triggers run meanwhile.
        unsafe {
            let (transaction, command) = (pg_sys::GetTopTransactionIdIfAny(), (*pg_sys::GetActiveSnapshot()).curcid);
            Moving { table: table.id, version, transaction, command }
        }
    }
}

/// The one that was updated last.
static MOVING: OfBackend<Cell<Option<Moving>>> = OfBackend::new(Cell::new(None));

sql_functions! {
    /// `set_version() -> trigger`
    fn set_version / pg_finfo_set_version(fcinfo) {
        // SAFETY: Postgres calls a trigger function with a TriggerData as context, if it calls it as a trigger.
        unsafe {
            let data = data_before_event(fcinfo)?;
            let Some(id) = triggered::id_of((*data).tg_trigger) else {
                return Err(Failure::new(b"39P01", "cache_sync.set_version() needs the table's number as argument")
                    .hint("Its triggers are made by cache_sync.attach."));
            };
            let table = known::of((*data).tg_relation, id);
            let tuple = match (*data).tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
                pg_sys::TRIGGER_EVENT_INSERT => on_insert(&*data, &table)?,
                _ => on_update(&*data, &table),
            };
            Ok(pg_sys::Datum::from(tuple))
        }
    }

    /// `replaced_version() -> bigint`: for RETURNING, the version that the row had before this UPDATE.
    fn replaced_version / pg_finfo_replaced_version(_fcinfo) { Ok(pg_sys::Datum::from(LAST.get().replaced)) }

    /// `replaced_tie() -> boolean`: for RETURNING, whether some field of this UPDATE was decided by value.
    fn replaced_tie / pg_finfo_replaced_tie(_fcinfo) { Ok(pg_sys::Datum::from(LAST.get().tied)) }
}

/// # Safety
/// `fcinfo` must be what Postgres called a function with.
unsafe fn data_before_event(fcinfo: pg_sys::FunctionCallInfo) -> Result<*const pg_sys::TriggerData, Failure> {
    const BEFORE_ROW: u32 = pg_sys::TRIGGER_EVENT_BEFORE | pg_sys::TRIGGER_EVENT_ROW;
    const TIMING: u32 = BEFORE_ROW | pg_sys::TRIGGER_EVENT_INSTEAD;
    // SAFETY: the caller vouches for `fcinfo`.
    unsafe {
        let data = triggered::data(fcinfo)
            .ok_or_else(|| Failure::new(b"39P01", "cache_sync.set_version() must be called as a trigger"))?;
        let event = (*data).tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
        if (*data).tg_event & TIMING != BEFORE_ROW || event == pg_sys::TRIGGER_EVENT_DELETE {
            let message = "cache_sync.set_version() must be fired before INSERT or UPDATE for each row";
            return Err(Failure::new(b"39P01", message));
        }
        Ok(data)
    }
}

/// Whether rows are written for somebody else, who knows when they were: replication, or the restore of a dump. What pg_dump writes and
/// pg_restore says begins with switching off these two.
fn is_for_somebody_else() -> bool {
    // SAFETY: plain reads of variables of the backend.
    unsafe {
        pg_sys::SessionReplicationRole == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as i32
            || !(pg_sys::check_function_bodies || pg_sys::row_security)
    }
}

/// The row to be inserted. What a program carries over from elsewhere says when that was written, and not when this is: an older write
/// that is still buffered must not win over it.
///
/// # Safety
/// `data` must be that of a BEFORE INSERT row trigger of the table.
unsafe fn on_insert(data: &pg_sys::TriggerData, table: &Table) -> Result<pg_sys::HeapTuple, Failure> {
    if !table.versioned || table.version_attnum == 0 {
        return Ok(data.tg_trigtuple);
    }
    // SAFETY: the caller vouches for the trigger's data: the slot holds a row of the relation's descriptor, which lives as long as the
    // trigger runs, and gets the tuple that is returned.
    unsafe {
        let descriptor = (*data.tg_relation).rd_att;
        let row = Columns::of(data.tg_trigslot, (*descriptor).natts as i16);
        let version = row.get(table.version_attnum).map(|version| version.value() as i64);
        let stored = row.get(table.clock_attnum).map(|clock| value::plain_bytes(clock));
        let clock = stored.and_then(|clock| Clock::decode(Some(clock), Version::NONE).ok());
        if let Some(patched) = clock.filter(Clock::is_marked) {
            row.set(table.clock_attnum, Some(value::bytea(&patched.without_notes().encode())));
            return Ok(row.form(descriptor));
        }
        let is_now = version.is_some_and(hlc::is_last_of_transaction);
        let moving = MOVING.get();
        let is_moved = moving.is_some() && moving == version.map(|version| Moving::now(table, version));
        if (is_now && stored.is_none()) || is_for_somebody_else() || is_moved {
            return Ok(data.tg_trigtuple);
        }
        if !is_now {
            row.set(table.version_attnum, Some(hlc::next_of_row().into()));
        }
        if table.clock_attnum != 0 {
            row.set(table.clock_attnum, None);
        }
        Ok(row.form(descriptor))
    }
}

/// # Safety
/// `data` must be that of a BEFORE UPDATE row trigger of the table.
unsafe fn on_update(data: &pg_sys::TriggerData, table: &Table) -> pg_sys::HeapTuple {
    if !table.versioned || table.version_attnum == 0 {
        return data.tg_newtuple;
    }
    // SAFETY: the caller vouches for the trigger's data: both slots hold rows of the relation's descriptor, which live
    // as long as the trigger runs. The new row's slot gets the tuple that is returned.
    unsafe {
        let descriptor = (*data.tg_relation).rd_att;
        let last = (*descriptor).natts as i16;
        let update =
            Update { old: Columns::of(data.tg_trigslot, last), new: Columns::of(data.tg_newslot, last), table };
        let replaced = update.replaced();
        let mut version = Version(hlc::next_above(replaced.0));
        let mut tied = false;
        if table.clock_attnum != 0 {
            // Where no field has stamps any more, the clock is none of the patch's business either.
            let stored = match table.stamped.is_empty() {
                true => update.old.get(table.clock_attnum),
                false => update.clock(version, &mut tied).map(|clock| {
                    // Who writes above the version that he saw writes above every stamp that he saw.
                    version = version.max(Version(clock::newest_of_all(&clock).0));
                    value::bytea(&clock.encode())
                }),
            };
            update.new.set(table.clock_attnum, stored);
        }
        update.new.set(table.version_attnum, Some(version.0.into()));
        LAST.set(LastUpdate { replaced: replaced.0, tied });
        if (*(*data.tg_relation).rd_rel).relispartition {
            MOVING.set(Some(Moving::now(table, version.0)));
        }
        let tuple = update.new.form(descriptor);
        (*tuple).t_self = (*data.tg_newtuple).t_self;
        (*tuple).t_tableOid = (*data.tg_newtuple).t_tableOid;
        (*(*tuple).t_data).t_ctid = (*(*data.tg_newtuple).t_data).t_ctid;
        tuple
    }
}

/// The row before and after, with all their columns.
struct Update<'a> {
    old: Columns,
    new: Columns,
    table: &'a Table,
}

impl Update<'_> {
    /// The version of the row before.
    ///
    /// # Safety
    /// The slots must hold the rows.
    unsafe fn replaced(&self) -> Version {
        // SAFETY: the caller vouches for the slots.
        Version(unsafe { self.old.get(self.table.version_attnum) }.map_or(0, |version| version.value() as i64))
    }

    /// The clock to store; `None` when every field has the version as its stamp.
    ///
    /// # Safety
    /// The slots must hold the rows.
    unsafe fn clock(&self, version: Version, tied: &mut bool) -> Option<Clock> {
        // SAFETY: the caller vouches for the slots; the table's clock is a bytea.
        let stored = |row: Columns| unsafe { row.get(self.table.clock_attnum).map(|clock| value::plain_bytes(clock)) };
        // SAFETY: as above.
        let old = clock::read(stored(self.old), unsafe { self.replaced() });
        let patched = stored(self.new).and_then(|clock| Clock::decode(Some(clock), Version::NONE).ok());
        let patched = patched.filter(Clock::is_marked);
        if let (Some(before), Some(after)) = (old.uniform(), patched.as_ref().and_then(Clock::uniform))
            && after > clock::believed(before)
        {
            // The patch set every field.
            return (after.0 != version.0).then(|| Clock::all(after));
        }
        if let Some(patched) = patched.as_ref().filter(|patched| self.is_decided(patched)) {
            return Some(patched.clone().without_notes());
        }
        let mut documents = Vec::new();
        let stamp = |field: &Stamped| {
            let before = clock::stamp(&old, field.id);
            if let Some(patched) = &patched {
                let after = patched.stamp(field.id);
                let note = patched.stamp(clock::note_of(field.id));
                *tied |= note == clock::TIE;
                if note == clock::TIE || note == clock::DECIDED || after > before {
                    if patched.has_paths(field.id) || old.has_paths(field.id) {
                        documents.push((field.id, patched.paths(field.id)));
                    }
                    return (field.id, after);
                }
            }
            // SAFETY: a field's column is one of both rows, and one of documents is a jsonb.
            unsafe {
                if !self.is_changed(field) {
                    return (field.id, before);
                }
                match &field.rule {
                    // It was written first when it was: whoever corrects it was not before that.
                    Rule::First if self.old.get(field.attnum).is_some() => (field.id, before),
                    Rule::Json(rule) => {
                        let values = [self.old.get(field.attnum), self.new.get(field.attnum)];
                        let mut paths = old.paths(field.id).map(clock::believed);
                        document::note_change(rule, values, Stamp(version.0), &mut paths);
                        let base = paths.base();
                        documents.push((field.id, paths));
                        (field.id, base)
                    }
                    _ => (field.id, Stamp(version.0)),
                }
            }
        };
        let stamps: Vec<_> = self.table.stamped.iter().map(stamp).collect();
        let mut clock = clock::compact(&stamps, &old);
        documents.into_iter().for_each(|(field, paths)| clock.set_paths(field, paths));
        (clock.uniform() != Some(Stamp(version.0))).then_some(clock)
    }

    /// Whether the table's only field with stamps is a document that the patch has decided.
    fn is_decided(&self, patched: &Clock) -> bool {
        let [field] = &self.table.stamped[..] else { return false };
        matches!(field.rule, Rule::Json(_)) && patched.stamp(clock::note_of(field.id)) == clock::DECIDED
    }

    /// # Safety
    /// The slots must hold the rows.
    unsafe fn is_changed(&self, field: &Stamped) -> bool {
        // SAFETY: the caller vouches for the slots; both are values of the column's type.
        unsafe {
            match (self.old.get(field.attnum), self.new.get(field.attnum)) {
                (None, None) => false,
                (Some(old), Some(new)) => !value::is_same(old, new, field.is_by_value, field.length),
                _ => true,
            }
        }
    }
}
