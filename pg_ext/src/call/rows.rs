//! Returns rows from a function called from SQL.

use pgrx::{IntoDatum, pg_sys};

/// The result of a function that RETURNS TABLE, filled row by row.
pub(crate) struct Rows(*mut pg_sys::ReturnSetInfo);

impl Rows {
    /// Begins the result.
    ///
    /// # Safety
    /// `fcinfo` must be what Postgres called a function with that is declared to RETURN TABLE. The caller, or what it
    /// calls, raises an error if rows are not wanted where it was called.
    pub(crate) unsafe fn new(fcinfo: pg_sys::FunctionCallInfo) -> Rows {
        // SAFETY: the caller vouches for `fcinfo`; InitMaterializedSRF checks the context and fills in tuplestore and
        // descriptor, or raises an error.
        unsafe {
            pg_sys::InitMaterializedSRF(fcinfo, 0);
            Rows((*fcinfo).resultinfo.cast())
        }
    }

    /// Adds a row, which must have as many values as the result has columns, of their types.
    pub(crate) fn push<const COLUMNS: usize>(&mut self, row: [Option<pg_sys::Datum>; COLUMNS]) {
        let mut nulls = row.map(|value| value.is_none());
        let mut values = row.map(|value| value.unwrap_or(pg_sys::Datum::from(0)));
        // SAFETY: InitMaterializedSRF has set both; they take copies of the values.
        unsafe {
            debug_assert_eq!((*(*self.0).setDesc).natts as usize, COLUMNS);
            pg_sys::tuplestore_putvalues(
                (*self.0).setResult,
                (*self.0).setDesc,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
    }

    /// What the function returns.
    pub(crate) fn end(self) -> pg_sys::Datum {
        pg_sys::Datum::from(0)
    }
}

/// A 64-bit number that is unsigned with us, with the same bits.
pub(crate) fn bigint(number: u64) -> Option<pg_sys::Datum> {
    (number as i64).into_datum()
}
