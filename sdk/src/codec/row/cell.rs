//! One value, and what serde gets of it for what it asks.
//!
//! What is asked for decides as long as nothing is lost: a number goes into any numeric type that holds it exactly and
//! into a string, bytes go into a sequence or their hexadecimal text. Nobody asking (`serde_json::Value`), numerics
//! and bytes are strings, so that they stay exact.

use super::{Cells, DecodeError, number};
use crate::codec::text;
use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use std::borrow::Cow;

/// One value.
#[derive(Clone, Debug)]
pub(crate) enum Cell<'de> {
    Null,
    Bool(bool),
    Int(i64),
    Float4(f32),
    Float8(f64),
    /// An exact decimal, `NaN` or an infinity.
    Numeric(Cow<'de, str>),
    Text(Cow<'de, str>),
    Bytes(Cow<'de, [u8]>),
    Uuid([u8; 16]),
    /// A JSON document.
    Json(&'de str),
    List(Vec<Cell<'de>>),
    Record(Vec<(&'de str, Cell<'de>)>),
}

type Result<T> = std::result::Result<T, DecodeError>;

impl<'de> IntoDeserializer<'de, DecodeError> for Cell<'de> {
    type Deserializer = Cell<'de>;

    fn into_deserializer(self) -> Cell<'de> {
        self
    }
}

impl<'de> Cells<'de> for Cell<'de> {
    fn is_null(&self) -> bool {
        matches!(self, Cell::Null)
    }
}

/// What is asked of a document is asked of serde_json.
macro_rules! document {
    ($text:expr, $method:ident($($argument:expr),*)) => {{
        let mut document = serde_json::Deserializer::from_str($text);
        document.$method($($argument),*).map_err(DecodeError::new)
    }};
}

macro_rules! integers {
    ($($method:ident($int:ty) $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match &self {
                Cell::Json(text) => document!(text, $method(visitor)),
                Cell::Numeric(decimal) => match number::integer::<$int>(decimal) {
                    Some(int) => visitor.$visit(int),
                    None => Err(lossy(decimal, stringify!($int))),
                },
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match self {
                Cell::Json(text) => document!(text, $method(visitor)),
                Cell::Int(int) => visitor.visit_string(int.to_string()),
                Cell::Float4(float) => visitor.visit_string(float_text(float, f64::from(float))),
                Cell::Float8(float) => visitor.visit_string(float_text(float, float)),
                cell => cell.deserialize_any(visitor),
            }
        }
    )*};
}

macro_rules! bytes {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match self {
                Cell::Json(text) => document!(text, $method(visitor)),
                Cell::Bytes(Cow::Borrowed(bytes)) => visitor.visit_borrowed_bytes(bytes),
                Cell::Bytes(Cow::Owned(bytes)) => visitor.visit_byte_buf(bytes),
                Cell::Uuid(uuid) => visitor.visit_bytes(&uuid),
                cell => cell.deserialize_any(visitor),
            }
        }
    )*};
}

macro_rules! sequences {
    ($($method:ident($($argument:ident: $ty:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $ty,)* visitor: V) -> Result<V::Value> {
            match self {
                Cell::Json(text) => document!(text, $method($($argument,)* visitor)),
                Cell::Bytes(bytes) => sequence(bytes.iter().copied(), visitor),
                Cell::Uuid(uuid) => sequence(uuid.into_iter(), visitor),
                Cell::Record(fields) => sequence(fields.into_iter().map(|(_, cell)| cell), visitor),
                cell => cell.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Cell<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Cell::Null => visitor.visit_unit(),
            Cell::Bool(bool) => visitor.visit_bool(bool),
            Cell::Int(int) => visitor.visit_i64(int),
            // The shortest text names the float4 that is meant; widening it would add digits that nobody wrote.
            Cell::Float4(float) if float.is_finite() => {
                visitor.visit_f64(float.to_string().parse().unwrap_or(f64::from(float)))
            }
            Cell::Float8(float) if float.is_finite() => visitor.visit_f64(float),
            Cell::Float4(float) => visitor.visit_string(float_text(float, f64::from(float))),
            Cell::Float8(float) => visitor.visit_string(float_text(float, float)),
            Cell::Numeric(text) | Cell::Text(text) => match text {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            Cell::Bytes(bytes) => visitor.visit_string(text::hex(&bytes)),
            Cell::Uuid(uuid) => visitor.visit_string(uuid::Uuid::from_bytes(uuid).to_string()),
            Cell::Json(text) => document!(text, deserialize_any(visitor)),
            Cell::List(list) => sequence(list.into_iter(), visitor),
            Cell::Record(fields) => {
                let mut fields = MapDeserializer::new(fields.into_iter());
                let value = visitor.visit_map(&mut fields)?;
                fields.end()?;
                Ok(value)
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    integers! {
        deserialize_i8(i64) visit_i64
        deserialize_i16(i64) visit_i64
        deserialize_i32(i64) visit_i64
        deserialize_i64(i64) visit_i64
        deserialize_i128(i128) visit_i128
        deserialize_u8(u64) visit_u64
        deserialize_u16(u64) visit_u64
        deserialize_u32(u64) visit_u64
        deserialize_u64(u64) visit_u64
        deserialize_u128(u128) visit_u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let float = match &self {
            Cell::Json(text) => return document!(text, deserialize_f32(visitor)),
            Cell::Float4(float) => Some(*float),
            Cell::Float8(float) if !float.is_finite() => Some(*float as f32),
            Cell::Float8(float) => number::float(&float.to_string()),
            Cell::Int(int) => number::float(&int.to_string()),
            Cell::Numeric(decimal) => number::float(decimal),
            _ => return self.deserialize_any(visitor),
        };
        match float {
            Some(float) => visitor.visit_f32(float),
            None => Err(lossy(&self.shown(), "f32")),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let float = match &self {
            Cell::Json(text) => return document!(text, deserialize_f64(visitor)),
            Cell::Float4(float) => Some(f64::from(*float)),
            Cell::Float8(float) => Some(*float),
            Cell::Int(int) => number::float(&int.to_string()),
            Cell::Numeric(decimal) => number::float(decimal),
            _ => return self.deserialize_any(visitor),
        };
        match float {
            Some(float) => visitor.visit_f64(float),
            None => Err(lossy(&self.shown(), "f64")),
        }
    }

    texts! { deserialize_char deserialize_str deserialize_string }

    bytes! { deserialize_bytes deserialize_byte_buf }

    sequences! {
        deserialize_seq()
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
    }

    /// A document `null` is none too: in a patch both are one.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Cell::Null => visitor.visit_none(),
            Cell::Json(text) => document!(text, deserialize_option(visitor)),
            cell => visitor.visit_some(cell),
        }
    }

    /// Also how `serde_json::value::RawValue` asks for the text of a document.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        match self {
            Cell::Json(text) => document!(text, deserialize_newtype_struct(name, visitor)),
            cell => visitor.visit_newtype_struct(cell),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        members: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self {
            Cell::Json(text) => document!(text, deserialize_struct(name, members, visitor)),
            cell => cell.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self {
            Cell::Json(text) => document!(text, deserialize_enum(name, variants, visitor)),
            Cell::Text(label) => visitor.visit_enum(StrDeserializer::new(&label)),
            cell => cell.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { unit unit_struct map identifier }
}

impl Cell<'_> {
    fn shown(&self) -> String {
        match self {
            Cell::Int(int) => int.to_string(),
            Cell::Float4(float) => float.to_string(),
            Cell::Float8(float) => float.to_string(),
            Cell::Numeric(decimal) => decimal.to_string(),
            _ => String::new(),
        }
    }
}

/// A float's shortest text, with an exponent where it would be long, and the words Postgres has for the rest.
fn float_text(float: impl std::fmt::Display + std::fmt::LowerExp, value: f64) -> String {
    let magnitude = value.abs();
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if magnitude != 0.0 && !(1e-5..1e15).contains(&magnitude) && !value.is_nan() {
        return format!("{float:e}");
    }
    float.to_string()
}

fn sequence<'de, I, V>(elements: I, visitor: V) -> Result<V::Value>
where
    I: Iterator,
    I::Item: IntoDeserializer<'de, DecodeError>,
    V: Visitor<'de>,
{
    let mut elements = SeqDeserializer::new(elements);
    let value = visitor.visit_seq(&mut elements)?;
    elements.end()?;
    Ok(value)
}

fn lossy(number: &str, wanted: &str) -> DecodeError {
    DecodeError::new(format_args!("{number} cannot be held by {wanted} without loss"))
}
