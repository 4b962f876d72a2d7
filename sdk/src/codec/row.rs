//! A row's binary values as a Rust type.
//!
//! ```text
//! cell      one value of whatever type, and what serde gets of it for what it asks
//! binary    Postgres' binary form -> cell
//! number    exact decimals
//! members   a row's values by name, in their order, or the only one
//! error     which column, its type, and what was wanted
//! ```

mod binary;
mod cell;
mod error;
mod members;
mod number;

pub(crate) use cell::Cell;
pub(crate) use error::DecodeError;
pub(crate) use members::{Cells, Members};
pub(crate) use number::is_json_number;

use crate::codec::caught::caught;
use crate::codec::layout::Layout;
use postgres_types::{FromSql, Type};
use serde::de::DeserializeOwned;
use std::error::Error;
use std::hash::{Hash, Hasher};
use tokio_postgres::Row;

/// Reads the columns from `first_column` on, which [`Layout::select_list`] asked for.
///
/// # Errors
/// [`DecodeError`] when a value does not fit the member.
pub(crate) fn decode<V: DeserializeOwned>(layout: &Layout, row: &Row, first_column: usize) -> Result<V, DecodeError> {
    let columns = row.columns().get(first_column..).unwrap_or_default();
    if columns.len() < layout.columns.len() {
        return Err(DecodeError::new("the row has fewer columns than the type has members"));
    }
    let is_there = |place: usize| row.try_get(first_column + place).is_ok_and(|Raw(bytes)| bytes.is_some());
    let columns = layout.columns.iter().zip(columns).enumerate();
    // A document without the member is to its type as if it left it out.
    let columns = columns.filter(|(place, (column, _))| column.document.is_none() || is_there(*place));
    let members = columns.map(|(place, (column, shown))| {
        let read = move || {
            let Raw(bytes) = row.try_get(first_column + place).map_err(DecodeError::new)?;
            bytes.map_or(Ok(Cell::Null), |bytes| binary::cell(shown.type_(), bytes))
        };
        (column, read)
    });
    caught(|| V::deserialize(Members::new(members))).map_err(DecodeError::new)?
}

/// Adds what a row says from this column on to a digest.
pub(crate) fn digest(row: &Row, first_column: usize, into: &mut impl Hasher) {
    for place in first_column..row.len() {
        // Whatever it is of: any value has bytes.
        let bytes = row.try_get(place).map_or(None, |Raw(bytes)| bytes);
        bytes.hash(into);
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

#[cfg(test)]
pub(crate) mod tests;
