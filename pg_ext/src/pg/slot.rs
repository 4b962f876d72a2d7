//! A row in a slot of the executor's, taken apart as far as is needed.

use pgrx::pg_sys;

/// The first columns of a row, numbered from 1.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
}

impl Columns {
    /// Takes the row apart up to column `last`.
    ///
    /// # Safety
    /// The slot must hold a row with so many columns, and hold it as long as this is used.
    #[inline]
    pub(crate) unsafe fn of(slot: *mut pg_sys::TupleTableSlot, last: i16) -> Columns {
        unsafe extern "C-unwind" {
            // Without pgrx's guard, which costs more than the call: for a heap's row it does not fail.
            fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: i32);
        }
        // SAFETY: the caller vouches for the slot and its columns. Other slots than a heap's have a table access method of
        // somebody's behind them, which may raise errors.
        unsafe {
            if (*slot).tts_nvalid < last {
                if (*slot).tts_ops == &raw const pg_sys::TTSOpsBufferHeapTuple {
                    slot_getsomeattrs_int(slot, i32::from(last));
                } else {
                    pg_sys::slot_getsomeattrs_int(slot, i32::from(last));
                }
            }
            Columns { values: (*slot).tts_values, nulls: (*slot).tts_isnull }
        }
    }

    /// The value of a column that is not null.
    ///
    /// # Safety
    /// The column must be one of those taken apart.
    #[inline]
    pub(crate) unsafe fn value(self, attnum: i16) -> pg_sys::Datum {
        // SAFETY: the caller vouches for the number.
        unsafe { *self.values.add(attnum as usize - 1) }
    }

    /// The value of a column; `None` when it is null, or when there is no such column (number 0).
    ///
    /// # Safety
    /// As [`Columns::value`].
    #[inline]
    pub(crate) unsafe fn get(self, attnum: i16) -> Option<pg_sys::Datum> {
        let place = (attnum as usize).checked_sub(1)?;
        // SAFETY: the caller vouches for the number.
        unsafe { (!*self.nulls.add(place)).then(|| *self.values.add(place)) }
    }

    /// Changes what the slot says of a column, for a tuple to be formed of it.
    ///
    /// # Safety
    /// As [`Columns::value`]; the slot must be cleared, or get another tuple, before anybody else reads it.
    #[inline]
    pub(crate) unsafe fn set(self, attnum: i16, value: Option<pg_sys::Datum>) {
        // SAFETY: the caller vouches for the number and for the slot.
        unsafe {
            *self.values.add(attnum as usize - 1) = value.unwrap_or(pg_sys::Datum::from(0));
            *self.nulls.add(attnum as usize - 1) = value.is_none();
        }
    }

    /// Forms a tuple of all columns.
    ///
    /// # Safety
    /// All columns of the descriptor must have been taken apart, and the slot be of this descriptor.
    pub(crate) unsafe fn form(self, descriptor: pg_sys::TupleDesc) -> pg_sys::HeapTuple {
        // SAFETY: the caller vouches for the columns.
        unsafe { pg_sys::heap_form_tuple(descriptor, self.values, self.nulls) }
    }
}
