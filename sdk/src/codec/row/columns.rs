//! A row, whatever brought it.

use super::{Cell, DecodeError, binary};
use postgres_types::{FromSql, Type};
use std::error::Error;
use std::hash::{Hash, Hasher};
use tokio_postgres::Row;

/// A row's values by their places.
pub(crate) trait Columns {
    /// How many there are.
    fn count(&self) -> usize;

    /// The value at this place.
    fn cell(&self, place: usize) -> Result<Cell<'_>, DecodeError>;

    /// Whether there is one, or it is null.
    fn is_there(&self, place: usize) -> bool;

    /// How many bytes the row had as it came.
    fn size(&self) -> usize;

    /// Adds what it says from this column on to a digest.
    fn digest(&self, first_column: usize, into: &mut dyn Hasher);
}

/// As Postgres sends it, in binary.
impl Columns for Row {
    fn count(&self) -> usize {
        self.len()
    }

    fn cell(&self, place: usize) -> Result<Cell<'_>, DecodeError> {
        let Raw(bytes) = self.try_get(place).map_err(DecodeError::new)?;
        bytes.map_or(Ok(Cell::Null), |bytes| binary::cell(self.columns()[place].type_(), bytes))
    }

    fn is_there(&self, place: usize) -> bool {
        self.try_get(place).is_ok_and(|Raw(bytes)| bytes.is_some())
    }

    fn size(&self) -> usize {
        self.raw_size_bytes()
    }

    fn digest(&self, first_column: usize, mut into: &mut dyn Hasher) {
        for place in first_column..self.len() {
            // Whatever it is of: any value has bytes.
            let bytes = self.try_get(place).map_or(None, |Raw(bytes)| bytes);
            bytes.hash(&mut into);
        }
    }
}

/// The bytes of a value of any type.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Raw<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Raw(Some(bytes)))
    }

    fn from_sql_null(_: &Type) -> Result<Raw<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Raw(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
