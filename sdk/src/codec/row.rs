//! A row's binary values as a Rust type.
//!
//! ```text
//! cell      one value of whatever type, and what serde gets of it for what it asks
//! binary    Postgres' binary form -> cell
//! number    exact decimals
//! error     which column, its type, and what was wanted
//! ```

mod binary;
mod cell;
mod error;
mod number;

pub(crate) use cell::Cell;
pub(crate) use error::DecodeError;
pub(crate) use number::is_json_number;

use crate::codec::caught::caught;
use crate::codec::layout::{Column, Layout};
use postgres_types::{FromSql, Type};
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::error::Error;
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

/// Members by name, each read when its turn comes.
pub(crate) struct Members<'de, I, R> {
    rest: I,
    current: Option<(&'de Column, R)>,
}

impl<'de, I, R> Members<'de, I, R>
where
    I: Iterator<Item = (&'de Column, R)>,
    R: FnOnce() -> Result<Cell<'de>, DecodeError>,
{
    pub(crate) fn new(members: I) -> Members<'de, I, R> {
        Members { rest: members, current: None }
    }
}

impl<'de, I, R> Deserializer<'de> for Members<'de, I, R>
where
    I: Iterator<Item = (&'de Column, R)>,
    R: FnOnce() -> Result<Cell<'de>, DecodeError>,
{
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_map(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, I, R> MapAccess<'de> for Members<'de, I, R>
where
    I: Iterator<Item = (&'de Column, R)>,
    R: FnOnce() -> Result<Cell<'de>, DecodeError>,
{
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        self.current = self.rest.next();
        let Some((column, _)) = &self.current else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(&column.name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let Some((column, read)) = self.current.take() else {
            return Err(DecodeError::new("a value was asked for before its name"));
        };
        read().and_then(|cell| seed.deserialize(cell)).map_err(|error| error.at(&column.name, &column.ty))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.size_hint().0)
    }
}

#[cfg(test)]
pub(crate) mod tests;
