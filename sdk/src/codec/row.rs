//! A row's values as a Rust type.
//!
//! ```text
//! columns   a row, whatever brought it        loaded  one that a load brings
//! cell      one value of whatever type, and what serde gets of it for what it asks
//! binary    Postgres' binary form -> cell
//! number    exact decimals
//! members   a row's values by name, in their order, or the only one
//! error     which column, its type, and what was wanted
//! ```

mod binary;
mod cell;
mod columns;
mod error;
mod loaded;
mod members;
mod number;

pub(crate) use cell::Cell;
pub(crate) use columns::Columns;
pub(crate) use error::DecodeError;
pub(crate) use loaded::{LoadedColumns, LoadedRow};
pub(crate) use members::{Cells, Members};
pub(crate) use number::is_json_number;

use crate::codec::caught::caught;
use crate::codec::layout::Layout;
use serde::de::DeserializeOwned;

/// Reads the columns from `first_column` on, which [`Layout::select_list`] asked for.
///
/// # Errors
/// [`DecodeError`] when a value does not fit the member.
pub(crate) fn decode<V: DeserializeOwned>(
    layout: &Layout,
    row: &dyn Columns,
    first_column: usize,
) -> Result<V, DecodeError> {
    if row.count() < first_column + layout.columns.len() {
        return Err(DecodeError::new("the row has fewer columns than the type has members"));
    }
    let columns = layout.columns.iter().zip(first_column..);
    // A document without the member is to its type as if it left it out.
    let columns = columns.filter(|(column, place)| column.document.is_none() || row.is_there(*place));
    let members = columns.map(|(column, place)| (column, move || row.cell(place)));
    caught(|| V::deserialize(Members::new(members))).map_err(DecodeError::new)?
}

/// One value in Postgres' binary form.
///
/// # Errors
/// [`DecodeError`] when it does not fit the type.
#[cfg(feature = "in-memory")]
pub(crate) fn value<V: DeserializeOwned>(ty: &postgres_types::Type, bytes: &[u8]) -> Result<V, DecodeError> {
    V::deserialize(binary::cell(ty, bytes)?)
}

#[cfg(test)]
pub(crate) mod tests;
