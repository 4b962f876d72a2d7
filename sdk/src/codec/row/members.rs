//! A row's values: by name for a struct, in their order for a tuple, or the only one.

use super::DecodeError;
use crate::codec::layout::Column;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::any::type_name;

/// What is read of a column.
pub(crate) trait Cells<'de>: Deserializer<'de, Error = DecodeError> {
    fn is_null(&self) -> bool;
}

/// Members by name, each read when its turn comes.
pub(crate) struct Members<'de, I, R> {
    rest: I,
    current: Option<(&'de Column, R)>,
}

impl<'de, I, R, D> Members<'de, I, R>
where
    I: Iterator<Item = (&'de Column, R)>,
    R: FnOnce() -> Result<D, DecodeError>,
    D: Cells<'de>,
{
    pub(crate) fn new(members: I) -> Members<'de, I, R> {
        Members { rest: members, current: None }
    }

    /// What a row of one column holds.
    fn only<T>(mut self, take: impl FnOnce(D) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let (Some((column, read)), None) = (self.rest.next(), self.rest.next()) else {
            return Err(DecodeError::new("a type that is one value reads rows of one column; a tuple reads several"));
        };
        value_of(column, read, take)
    }
}

/// What a column's value comes to. Only here it is known whether it is the column that is null.
fn value_of<'de, D: Cells<'de>, T>(
    column: &Column,
    read: impl FnOnce() -> Result<D, DecodeError>,
    take: impl FnOnce(D) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let taken = read().and_then(|value| {
        let is_null = value.is_null();
        take(value).map_err(|error| if is_null { error.of_null() } else { error })
    });
    taken.map_err(|error| error.at(&column.name, &column.ty))
}

/// What is asked of a row of one column is asked of its value.
macro_rules! values {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.only(|value| value.$method(visitor))
        }
    )*};
}

impl<'de, I, R, D> Deserializer<'de> for Members<'de, I, R>
where
    I: Iterator<Item = (&'de Column, R)>,
    R: FnOnce() -> Result<D, DecodeError>,
    D: Cells<'de>,
{
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_map(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    /// A row is always there; the only value of one may be null.
    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.rest.size_hint().1 != Some(1) {
            return visitor.visit_some(self);
        }
        let Some((column, read)) = self.rest.next() else { return visitor.visit_none() };
        match read().map_err(|error| error.at(&column.name, &column.ty))? {
            value if value.is_null() => visitor.visit_none(),
            value => visitor.visit_some(Members::new(std::iter::once((column, move || Ok(value))))),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, values: usize, visitor: V) -> Result<V::Value, DecodeError> {
        match self.rest.size_hint().1 {
            Some(columns) if columns != values => {
                Err(DecodeError::new(format_args!("a row of {columns} columns is no tuple of {values} values")))
            }
            _ => visitor.visit_seq(self),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        values: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(values, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.only(|value| value.deserialize_enum(name, variants, visitor))
    }

    values! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_seq
    }

    forward_to_deserialize_any! { unit unit_struct map struct identifier ignored_any }
}

impl<'de, I, R, D> MapAccess<'de> for Members<'de, I, R>
where
    I: Iterator<Item = (&'de Column, R)>,
    R: FnOnce() -> Result<D, DecodeError>,
    D: Cells<'de>,
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
        let value = value_of(column, read, |value| seed.deserialize(value));
        value.map_err(|error| error.of_member(type_name::<S::Value>()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.size_hint().0)
    }
}

impl<'de, I, R, D> SeqAccess<'de> for Members<'de, I, R>
where
    I: Iterator<Item = (&'de Column, R)>,
    R: FnOnce() -> Result<D, DecodeError>,
    D: Cells<'de>,
{
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some((column, read)) = self.rest.next() else { return Ok(None) };
        value_of(column, read, |value| seed.deserialize(value)).map(Some)
    }
}
