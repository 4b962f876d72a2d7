//! A Rust value as the fields of a patch, each its own JSON text, and back.
//!
//! ```text
//! member      one member -> its JSON text, whatever its type's Serialize does
//! check       JSON texts that Postgres would refuse
//! canonical   that text -> the form in which Postgres reads the column
//! json        the text -> a cell, as if the row had brought it
//! diff        what changed between two values
//! ```
//! The fields of a value have one form, however its members are serialized: what Postgres counts as a number is a JSON
//! number, bytes are their hexadecimal text. So rules can compute with them, equal values are equal texts, and a member
//! gets back what the row would have given it.

mod canonical;
mod check;
mod diff;
mod error;
mod json;
mod member;

pub(crate) use diff::diff;
pub(crate) use error::{EncodeError, RuleViolation};

use crate::codec::caught::caught;
use crate::codec::layout::{Column, Layout, Role, TypeKind};
use crate::codec::row::{Cell, DecodeError, Members};
use cache_sync_core::fields::{FieldIndex, Fields};
use postgres_types::Type;
use serde::de::DeserializeOwned;
use serde::ser::{Impossible, Serialize, SerializeMap, SerializeStruct, Serializer};
use std::borrow::Cow;

/// Postgres takes no value of a gigabyte, nor a row.
const BYTES_MAX: usize = 1 << 30;

/// The members of a value, those of the key included. A member that its type skips for its value (`skip_serializing_if`) is null; one
/// that a map or a flattened type lacks, or that is never written, is absent.
///
/// # Errors
/// [`EncodeError`] when a member is no column, has a value that Postgres cannot take, or is skipped and its column NOT NULL.
pub(crate) fn to_fields<V: Serialize + ?Sized>(layout: &Layout, value: &V) -> Result<Fields, EncodeError> {
    const BYTES_PER_MEMBER: usize = 16;
    let fields = Fields::with_capacity(BYTES_PER_MEMBER * layout.columns.len());
    let writer = Writer { layout, fields, next: 0, name: None, buffer: Vec::with_capacity(128) };
    caught(|| value.serialize(writer)).map_err(EncodeError::new)?
}

/// The value that these fields are of; absent ones are to their type as if a row lacked them.
///
/// # Errors
/// [`DecodeError`] when a value does not fit its member.
pub(crate) fn from_fields<V: DeserializeOwned>(layout: &Layout, fields: &Fields) -> Result<V, DecodeError> {
    let members = fields.iter().filter_map(|(index, value)| {
        let column = layout.column(index)?;
        Some((column, move || json::cell(&column.ty, value)))
    });
    caught(|| V::deserialize(Members::new(members))).map_err(DecodeError::new)?
}

/// The value of this type in a field's JSON text, as a row would have brought it.
///
/// # Errors
/// [`DecodeError`] when it is no such value.
pub(crate) fn cell<'de>(ty: &'de Type, text: &'de str) -> Result<Cell<'de>, DecodeError> {
    json::cell(ty, text)
}

/// One member's value as [`to_fields`] would write it.
///
/// # Errors
/// [`EncodeError`] when Postgres cannot take it.
pub(crate) fn to_field<T: Serialize + ?Sized>(column: &Column, value: &T) -> Result<String, EncodeError> {
    let mut buffer = Vec::new();
    write_field(column, value, &mut buffer).map(Cow::into_owned).map_err(|error| error.at(&column.name))
}

/// The value as it is, but an error where it is nested so deeply that it would overflow the stack.
#[cfg(feature = "packed")]
pub(crate) fn of_bounded_depth<T: Serialize + ?Sized>(value: &T) -> impl Serialize {
    member::of_bounded_depth(value)
}

fn write_field<'a, T: Serialize + ?Sized>(
    column: &Column,
    value: &T,
    buffer: &'a mut Vec<u8>,
) -> Result<Cow<'a, str>, EncodeError> {
    buffer.clear();
    member::write(buffer, &column.ty, value)?;
    let text = std::str::from_utf8(buffer).map_err(EncodeError::new)?;
    check::check(text)?;
    let text = canonical::canonical(&column.ty, text);
    if matches!(TypeKind::of(&column.ty), TypeKind::Bytes) {
        check::check_bytes(&text)?;
    }
    Ok(text)
}

/// The JSON text for this column of `json_to_recordset`.
pub(crate) fn sql_json<'a>(column: &Column, value: &'a str) -> Cow<'a, str> {
    canonical::for_recordset(&column.ty, value)
}

/// Takes the members of a struct or a map.
struct Writer<'a> {
    layout: &'a Layout,
    fields: Fields,
    /// Where the next member probably is: members come in layout order unless the two halves of serde disagree.
    next: usize,
    name: Option<String>,
    /// What a member is written into, over and over.
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), EncodeError> {
        let expected = self.layout.columns.get(self.next).filter(|column| column.name == name);
        let index = match expected {
            Some(_) => Some(self.next as FieldIndex),
            None => self.layout.index_of(name),
        };
        let Some((index, column)) = index.and_then(|index| Some((index, self.layout.column(index)?))) else {
            return Err(EncodeError::new("the table has no such column, or the type does not read it").at(name));
        };
        self.next = usize::from(index) + 1;
        let field = write_field(column, value, &mut self.buffer).map_err(|error| error.at(name))?;
        if self.fields.text_len() + field.len() > BYTES_MAX {
            return Err(EncodeError::new("the row is larger than Postgres can take").at(name));
        }
        self.fields.insert(index, &field);
        Ok(())
    }
}

impl SerializeStruct for Writer<'_> {
    type Ok = Fields;
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        self.member(name, value)
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), EncodeError> {
        let column = self.layout.index_of(name).and_then(|index| self.layout.column(index));
        let Some(Column { role: Role::Field { .. }, not_null, .. }) = column else { return Ok(()) };
        if *not_null {
            return Err(EncodeError::new("it is skipped, which writes null, and its column is NOT NULL").at(name));
        }
        self.member(name, &())
    }

    fn end(self) -> Result<Fields, EncodeError> {
        Ok(self.fields)
    }
}

impl SerializeMap for Writer<'_> {
    type Ok = Fields;
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), EncodeError> {
        let text = serde_json::to_string(name).map_err(EncodeError::new)?;
        let name = serde_json::from_str(&text).map_err(|_| EncodeError::new("the members' names must be strings"))?;
        self.name = Some(name);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let name = self.name.take().ok_or_else(|| EncodeError::new("a value came before its name"))?;
        self.member(&name, value)
    }

    fn end(self) -> Result<Fields, EncodeError> {
        Ok(self.fields)
    }
}

/// Everything but a struct and a map is refused.
macro_rules! refused {
    ($($method:ident($($argument:ty),*))*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<Fields, EncodeError> {
            Err(not_a_row())
        }
    )*};
}

impl<'a> Serializer for Writer<'a> {
    type Ok = Fields;
    type Error = EncodeError;
    type SerializeSeq = Impossible<Fields, EncodeError>;
    type SerializeTuple = Impossible<Fields, EncodeError>;
    type SerializeTupleStruct = Impossible<Fields, EncodeError>;
    type SerializeTupleVariant = Impossible<Fields, EncodeError>;
    type SerializeMap = Writer<'a>;
    type SerializeStruct = Writer<'a>;
    type SerializeStructVariant = Impossible<Fields, EncodeError>;

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Writer<'a>, EncodeError> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Writer<'a>, EncodeError> {
        Ok(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Fields, EncodeError> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Fields, EncodeError> {
        value.serialize(self)
    }

    refused! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_f32(f32)
        serialize_f64(f64) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8]) serialize_none()
        serialize_unit() serialize_unit_struct(&'static str) serialize_unit_variant(&'static str, u32, &'static str)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Fields, EncodeError> {
        Err(not_a_row())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, EncodeError> {
        Err(not_a_row())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, EncodeError> {
        Err(not_a_row())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, EncodeError> {
        Err(not_a_row())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, EncodeError> {
        Err(not_a_row())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, EncodeError> {
        Err(not_a_row())
    }
}

fn not_a_row() -> EncodeError {
    EncodeError::new("a row is written from a struct or a map with strings for keys")
}

#[cfg(test)]
mod tests;
