//! The trigger that gives every UPDATE of a versioned table its version and keeps the row's clock.
//!
//! It runs BEFORE UPDATE, after every trigger of the user's, under the row's lock, and so sees what is going to be
//! stored and what it replaces.

use crate::backend::OfBackend;
use crate::clock;
use crate::failure::{Failure, sql_functions};
use crate::hlc;
use crate::table::{self, Table};
use cache_sync_core::clock::Clock;
use cache_sync_core::number::{FieldId, Stamp, Version};
use pgrx::pg_sys;
use std::cell::Cell;

/// What the trigger saw last. RETURNING reads it: a row's RETURNING list is evaluated right after its own triggers.
#[derive(Clone, Copy)]
struct Seen {
    replaced: i64,
    tied: bool,
}

static SEEN: OfBackend<Cell<Seen>> = OfBackend::new(Cell::new(Seen { replaced: 0, tied: false }));

sql_functions! {
    /// `set_version() -> trigger`
    fn set_version / pg_finfo_set_version(fcinfo) {
        // SAFETY: Postgres calls a trigger function with a TriggerData as context, if it calls it as a trigger.
        unsafe {
            let data = trigger_data(fcinfo)?;
            let Some(id) = table::id_of((*data).tg_trigger) else {
                return Err(Failure::new(b"39P01", "cache_sync.set_version() needs the table's number as argument")
                    .hint("Its triggers are made by cache_sync.attach."));
            };
            let table = table::of((*data).tg_relation, id);
            Ok(pg_sys::Datum::from(on_update(&*data, &table)))
        }
    }

    /// `replaced_version() -> bigint`: for RETURNING, the version that the row had before this UPDATE.
    fn replaced_version / pg_finfo_replaced_version(_fcinfo) { Ok(pg_sys::Datum::from(SEEN.get().replaced)) }

    /// `replaced_tie() -> boolean`: for RETURNING, whether some field of this UPDATE was decided by value.
    fn replaced_tie / pg_finfo_replaced_tie(_fcinfo) { Ok(pg_sys::Datum::from(SEEN.get().tied)) }
}

/// # Safety
/// `fcinfo` must be what Postgres called a function with.
unsafe fn trigger_data(fcinfo: pg_sys::FunctionCallInfo) -> Result<*const pg_sys::TriggerData, Failure> {
    const BEFORE_ROW: u32 = pg_sys::TRIGGER_EVENT_BEFORE | pg_sys::TRIGGER_EVENT_ROW;
    const TIMING: u32 = BEFORE_ROW | pg_sys::TRIGGER_EVENT_INSTEAD | pg_sys::TRIGGER_EVENT_OPMASK;
    // SAFETY: the caller vouches for `fcinfo`; a context whose tag says so is a TriggerData.
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            return Err(Failure::new(b"39P01", "cache_sync.set_version() must be called as a trigger"));
        }
        let data = context.cast::<pg_sys::TriggerData>().cast_const();
        if (*data).tg_event & TIMING != BEFORE_ROW | pg_sys::TRIGGER_EVENT_UPDATE {
            return Err(Failure::new(b"39P01", "cache_sync.set_version() must be fired before UPDATE for each row"));
        }
        Ok(data)
    }
}

/// One of the trigger's two rows, taken apart.
struct Row {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Row {
    /// # Safety
    /// The tuple must be of this descriptor, and outlive the row.
    unsafe fn of(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> Row {
        // SAFETY: the caller vouches for both; the arrays have as many elements as the descriptor has columns.
        unsafe {
            let columns = (*descriptor).natts as usize;
            let mut row = Row { values: vec![pg_sys::Datum::from(0); columns], nulls: vec![true; columns] };
            pg_sys::heap_deform_tuple(tuple, descriptor, row.values.as_mut_ptr(), row.nulls.as_mut_ptr());
            row
        }
    }

    fn datum(&self, attnum: i16) -> Option<pg_sys::Datum> {
        let place = usize::try_from(attnum).ok()?.checked_sub(1)?;
        (!*self.nulls.get(place)?).then(|| self.values[place])
    }

    fn version(&self, table: &Table) -> Version {
        Version(self.datum(table.version_attnum).map_or(0, |datum| datum.value() as i64))
    }

    /// # Safety
    /// The row's tuple must be alive.
    unsafe fn clock(&self, table: &Table) -> Option<&[u8]> {
        // SAFETY: the table's clock is a bytea.
        self.datum(table.clock_attnum).map(|datum| unsafe { clock::plain_bytes(datum) })
    }
}

/// # Safety
/// `data` must be that of a BEFORE UPDATE row trigger of the table.
unsafe fn on_update(data: &pg_sys::TriggerData, table: &Table) -> pg_sys::HeapTuple {
    // SAFETY: the caller vouches for the trigger's data: two rows of the relation's descriptor, which live as long as
    // the trigger runs.
    unsafe {
        let descriptor = (*data.tg_relation).rd_att;
        if !table.versioned || table.version_attnum == 0 {
            return data.tg_newtuple;
        }
        let (old, new) = (Row::of(data.tg_trigtuple, descriptor), Row::of(data.tg_newtuple, descriptor));
        let replaced = old.version(table);
        hlc::observe(replaced.0);
        let version = Version(hlc::next());
        let mut tied = false;
        let mut attnums = vec![i32::from(table.version_attnum)];
        let mut values = vec![pg_sys::Datum::from(version.0)];
        let mut nulls = vec![false];
        let stamped = stamped(table, descriptor);
        if !stamped.is_empty() && table.clock_attnum != 0 {
            let rows = Rows { old: &old, new: &new, descriptor };
            let stored = rows.clock(table, &stamped, version, &mut tied).map(|clock| to_bytea(&clock));
            attnums.push(i32::from(table.clock_attnum));
            nulls.push(stored.is_none());
            values.push(stored.unwrap_or(pg_sys::Datum::from(0)));
        }
        SEEN.set(Seen { replaced: replaced.0, tied });
        pg_sys::heap_modify_tuple_by_cols(
            data.tg_newtuple,
            descriptor,
            attnums.len() as i32,
            attnums.as_ptr().cast_mut(),
            values.as_ptr().cast_mut(),
            nulls.as_ptr().cast_mut(),
        )
    }
}

/// The fields that have stamps, with their columns.
///
/// # Safety
/// `descriptor` must be that of the open relation that `table` was read from.
unsafe fn stamped(table: &Table, descriptor: pg_sys::TupleDesc) -> Vec<(FieldId, i16)> {
    table
        .fields
        .iter()
        // SAFETY: the caller vouches for the descriptor. A generated column is computed after all triggers.
        .filter(|field| field.rule.is_stamped() && unsafe { (*column(descriptor, field.attnum)).attgenerated } == 0)
        .map(|field| (field.id, field.attnum))
        .collect()
}

/// # Safety
/// `attnum` must be that of a column of the descriptor.
unsafe fn column(descriptor: pg_sys::TupleDesc, attnum: i16) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: the caller vouches for the number.
    unsafe {
        let place = attnum as usize - 1;
        #[cfg(not(feature = "pg18"))]
        return (*descriptor).attrs.as_ptr().add(place);
        // Since 18 the full attributes follow the compact ones.
        #[cfg(feature = "pg18")]
        return (*descriptor)
            .compact_attrs
            .as_ptr()
            .add((*descriptor).natts as usize)
            .cast::<pg_sys::FormData_pg_attribute>()
            .add(place);
    }
}

/// The row before and after.
struct Rows<'a> {
    old: &'a Row,
    new: &'a Row,
    descriptor: pg_sys::TupleDesc,
}

impl Rows<'_> {
    /// The clock to store; `None` when every field has the version as its stamp.
    ///
    /// # Safety
    /// The tuples of both rows must be alive.
    unsafe fn clock(
        &self,
        table: &Table,
        stamped: &[(FieldId, i16)],
        version: Version,
        tied: &mut bool,
    ) -> Option<Clock> {
        // SAFETY: the caller vouches for the tuples.
        let (old, new) = unsafe { (self.old.clock(table), self.new.clock(table)) };
        let old = clock::read(old, self.old.version(table));
        let patched = new.and_then(|bytes| Clock::decode(Some(bytes), Version::NONE).ok()).filter(Clock::is_marked);
        let stamps: Vec<_> = stamped
            .iter()
            .map(|(field, attnum)| {
                let before = clock::stamp(&old, *field);
                if let Some(patched) = &patched {
                    let after = patched.stamp(*field);
                    let is_tie = patched.stamp(clock::tie_of(*field)) == Stamp(i64::MIN);
                    *tied |= is_tie;
                    if is_tie || after > before {
                        return (*field, after);
                    }
                }
                // SAFETY: a field's column is one of both rows.
                let is_changed = unsafe { self.is_changed(*attnum) };
                (*field, if is_changed { Stamp(version.0) } else { before })
            })
            .collect();
        let is_all = stamps.iter().all(|(_, stamp)| stamp.0 == version.0);
        (!is_all).then(|| clock::compact(&stamps))
    }

    /// # Safety
    /// `attnum` must be that of a column of both rows, whose tuples must be alive.
    unsafe fn is_changed(&self, attnum: i16) -> bool {
        match (self.old.datum(attnum), self.new.datum(attnum)) {
            (None, None) => false,
            // SAFETY: both are values of the column's type.
            (Some(old), Some(new)) => unsafe {
                let column = column(self.descriptor, attnum);
                !is_same(old, new, (*column).attbyval, (*column).attlen)
            },
            _ => true,
        }
    }
}

/// Whether two values of a type are the same to the byte, wherever and however they are stored.
///
/// # Safety
/// Both must be values of a type with this length and way of passing.
pub(crate) unsafe fn is_same(a: pg_sys::Datum, b: pg_sys::Datum, is_by_value: bool, length: i16) -> bool {
    unsafe extern "C-unwind" {
        fn datum_image_eq(a: pg_sys::Datum, b: pg_sys::Datum, is_by_value: bool, length: i32) -> bool;
    }
    if is_by_value {
        return a.value() == b.value();
    }
    // SAFETY: the caller vouches for the values. The same bytes are the same value, also when they point to one that
    // is stored elsewhere; only others need to be fetched.
    unsafe {
        (length == -1 && stored_bytes(a) == stored_bytes(b))
            || pg_sys::ffi::pg_guard_ffi_boundary(|| datum_image_eq(a, b, is_by_value, i32::from(length)))
    }
}

/// # Safety
/// `datum` must be a value of variable length.
unsafe fn stored_bytes<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    let value = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: such a value begins with its size.
    unsafe { std::slice::from_raw_parts(value.cast::<u8>(), pgrx::varlena::varsize_any(value)) }
}

fn to_bytea(clock: &Clock) -> pg_sys::Datum {
    pgrx::varlena::rust_byte_slice_to_bytea(&clock.encode()).into_pg().into()
}
