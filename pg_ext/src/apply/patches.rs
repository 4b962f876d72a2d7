//! `patches(json)`: the objects of an array as rows, as `json_to_recordset` makes them, for columns of types that are neither
//! arrays nor composites; it looks at the text once.
//!
//! What it does not look at it does not refuse: escapes in values of members that are no columns, and in texts that a column
//! gets as they are (an object in a text column). A string in a json column keeps its escapes.

mod column;

use crate::call::argument;
use crate::call::function::sql_functions;
use crate::pg::failure::Failure;
use crate::pg::sqlstate;
use crate::pg::value::plain_bytes;
use cache_sync_core::json::{Json, unescaped};
use column::Column;
use pgrx::pg_sys;
use std::collections::HashMap;

sql_functions! {
    /// `patches(patches json) -> SETOF record`: each object is a row, its members are the columns of their names. What an
    /// object lacks is null, what is no column is left out.
    fn patches / pg_finfo_patches(fcinfo) {
        // SAFETY: the install script declares the function so.
        sqlstate::preserving(|| unsafe {
            let patches = argument::datum(fcinfo, 0).ok_or_else(|| argument::null("patches"))?;
            let patches = Json::new(plain_bytes(patches));
            if !patches.is_array() {
                return Err(Failure::new(b"22023", "patches is no array of objects"));
            }
            Set::new(fcinfo)?.fill(patches)
        })
    }
}

/// The result.
struct Set {
    info: *mut pg_sys::ReturnSetInfo,
    columns: Vec<Column>,
    places: HashMap<String, usize>,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
    /// For what values are made in; emptied after each row.
    row: pg_sys::MemoryContext,
}

/// So many members are read before Postgres may cancel.
const MEMBERS_PER_CHECK: usize = 4096;
/// So many keys are remembered; more than a table has columns.
const FORM_MAX: usize = 2048;

/// The keys of an object as they stand there, with their columns' places.
type KnownKeys<'a> = Vec<(&'a [u8], Option<usize>)>;

impl Set {
    /// # Safety
    /// `fcinfo` must be what Postgres called a function with that returns a set of records.
    unsafe fn new(fcinfo: pg_sys::FunctionCallInfo) -> Result<Set, Failure> {
        // SAFETY: the caller vouches for `fcinfo`; InitMaterializedSRF checks the context and copies the descriptor that the
        // query expects, or raises an error. The new memory context ends with the query's.
        unsafe {
            pg_sys::InitMaterializedSRF(fcinfo, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
            let info = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let descriptor = (*info).setDesc;
            let columns = (0..(*descriptor).natts as usize).map(|place| Column::new(descriptor, place));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let row = pg_sys::AllocSetContextCreateExtended(
                pg_sys::CurrentMemoryContext,
                c"cache_sync patch".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let (values, nulls) = (vec![pg_sys::Datum::from(0); columns.len()], vec![true; columns.len()]);
            let places = columns.iter().enumerate().map(|(place, column)| (column.name.clone(), place)).collect();
            Ok(Set { info, columns, places, values, nulls, row })
        }
    }

    fn fill(mut self, patches: Json<'_>) -> Result<pg_sys::Datum, Failure> {
        let mut known = KnownKeys::new();
        for object in patches.elements() {
            pgrx::check_for_interrupts!();
            if !object.is_object() {
                return Err(Failure::new(b"22023", "a patch is no JSON object"));
            }
            // SAFETY: the context is ours. Whoever catches an error of Postgres restores the one of before.
            let before = unsafe { pg_sys::MemoryContextSwitchTo(self.row) };
            let read = self.read(&mut known, object);
            // SAFETY: as above. The tuplestore was made for this descriptor, and takes copies of the values.
            unsafe {
                pg_sys::MemoryContextSwitchTo(before);
                read?;
                let (store, descriptor) = ((*self.info).setResult, (*self.info).setDesc);
                pg_sys::tuplestore_putvalues(store, descriptor, self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
                pg_sys::MemoryContextReset(self.row);
            }
        }
        // SAFETY: nothing refers to it any more.
        unsafe { pg_sys::MemoryContextDelete(self.row) };
        Ok(pg_sys::Datum::from(0))
    }

    /// Reads an object. Patches of one shape look alike, so the keys of the one before tell the columns.
    fn read<'a>(&mut self, known: &mut KnownKeys<'a>, object: Json<'a>) -> Result<(), Failure> {
        self.nulls.fill(true);
        for (place, (key, value)) in object.members().enumerate() {
            if place.is_multiple_of(MEMBERS_PER_CHECK) {
                pgrx::check_for_interrupts!();
            }
            let column = match known.get(place) {
                Some((name, column)) if *name == key => *column,
                _ => {
                    let column = self.places.get(&*unescaped(key)).copied();
                    known.truncate(place);
                    if place < FORM_MAX {
                        known.push((key, column));
                    }
                    column
                }
            };
            if let Some(column) = column {
                let value = self.columns[column].value(value)?;
                self.nulls[column] = value.is_none();
                self.values[column] = value.unwrap_or(pg_sys::Datum::from(0));
            }
        }
        for (place, column) in self.columns.iter_mut().enumerate().filter(|(_, column)| column.is_domain) {
            if self.nulls[place] {
                column.value(Json::new(b"null"))?;
            }
        }
        Ok(())
    }
}
