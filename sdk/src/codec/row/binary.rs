//! Postgres' binary form of a value.

use super::{Cell, DecodeError, number};
use crate::codec::layout::TypeKind;
use crate::codec::text;
use postgres_types::{Field, Type};
use std::borrow::Cow;

/// The value of this type in these bytes.
pub(super) fn cell<'de>(ty: &'de Type, bytes: &'de [u8]) -> Result<Cell<'de>, DecodeError> {
    let cell = match TypeKind::of(ty) {
        TypeKind::Bool => Cell::Bool(fixed::<1>(bytes)? != [0]),
        TypeKind::Int2 => Cell::Int(i64::from(i16::from_be_bytes(fixed(bytes)?))),
        TypeKind::Int4 => Cell::Int(i64::from(i32::from_be_bytes(fixed(bytes)?))),
        TypeKind::Int8 => Cell::Int(i64::from_be_bytes(fixed(bytes)?)),
        TypeKind::Oid => Cell::Int(i64::from(u32::from_be_bytes(fixed(bytes)?))),
        TypeKind::Float4 => Cell::Float4(f32::from_be_bytes(fixed(bytes)?)),
        TypeKind::Float8 => Cell::Float8(f64::from_be_bytes(fixed(bytes)?)),
        TypeKind::Numeric => Cell::Numeric(number::numeric(bytes).map(Cow::Owned).ok_or_else(malformed)?),
        TypeKind::Text => Cell::Text(Cow::Borrowed(utf8(bytes)?)),
        TypeKind::Bytes => Cell::Bytes(Cow::Borrowed(bytes)),
        TypeKind::Uuid => Cell::Uuid(fixed(bytes)?),
        TypeKind::Date => owned(text::date(i32::from_be_bytes(fixed(bytes)?))),
        TypeKind::Timestamp => owned(text::timestamp(i64::from_be_bytes(fixed(bytes)?))),
        TypeKind::Timestamptz => owned(text::timestamptz(i64::from_be_bytes(fixed(bytes)?))),
        TypeKind::Time => owned(text::time(i64::from_be_bytes(fixed(bytes)?))),
        TypeKind::Timetz => {
            let mut rest = bytes;
            let (micros, seconds_west) = (take_i64(&mut rest)?, take_i32(&mut rest)?);
            owned(text::timetz(micros, seconds_west))
        }
        TypeKind::Interval => {
            let mut rest = bytes;
            let (micros, days, months) = (take_i64(&mut rest)?, take_i32(&mut rest)?, take_i32(&mut rest)?);
            owned(text::interval(months, days, micros))
        }
        TypeKind::Json => Cell::Json(utf8(bytes)?),
        TypeKind::Jsonb => match bytes.split_first() {
            Some((1, document)) => Cell::Json(utf8(document)?),
            _ => return Err(malformed()),
        },
        TypeKind::Array(element) => array(element, bytes)?,
        TypeKind::Composite(fields) => composite(fields, bytes)?,
        TypeKind::Other => return Err(DecodeError::new("this type is only read as text")),
    };
    Ok(cell)
}

/// An array: its number of dimensions, a flag, the elements' type, each dimension's length and lower bound, and the
/// elements, the last dimension running fastest.
fn array<'de>(element: &'de Type, mut bytes: &'de [u8]) -> Result<Cell<'de>, DecodeError> {
    let rest = &mut bytes;
    let dimensions = usize::try_from(take_i32(rest)?).map_err(|_| malformed())?;
    take_i32(rest)?;
    take_i32(rest)?;
    let mut lengths = Vec::with_capacity(dimensions.min(8));
    for _ in 0..dimensions {
        lengths.push(usize::try_from(take_i32(rest)?).map_err(|_| malformed())?);
        take_i32(rest)?;
    }
    if lengths.is_empty() { Ok(Cell::List(Vec::new())) } else { dimension(element, &lengths, rest) }
}

fn dimension<'de>(element: &'de Type, lengths: &[usize], rest: &mut &'de [u8]) -> Result<Cell<'de>, DecodeError> {
    let Some((length, inner)) = lengths.split_first() else { return value(element, rest) };
    // Every element takes four bytes at least, so a length beyond that is no reason to allocate.
    let mut list = Vec::with_capacity((*length).min(rest.len() / 4));
    for _ in 0..*length {
        list.push(dimension(element, inner, rest)?);
    }
    Ok(Cell::List(list))
}

/// A composite: its number of fields, and each field's type and value.
fn composite<'de>(fields: &'de [Field], mut bytes: &'de [u8]) -> Result<Cell<'de>, DecodeError> {
    let rest = &mut bytes;
    if usize::try_from(take_i32(rest)?) != Ok(fields.len()) {
        return Err(malformed());
    }
    let mut record = Vec::with_capacity(fields.len());
    for field in fields {
        take_i32(rest)?;
        let cell = value(field.type_(), rest).map_err(|error| error.at(field.name(), field.type_()))?;
        record.push((field.name(), cell));
    }
    Ok(Cell::Record(record))
}

/// A value with its length ahead; -1 stands for null.
fn value<'de>(ty: &'de Type, rest: &mut &'de [u8]) -> Result<Cell<'de>, DecodeError> {
    let length = take_i32(rest)?;
    if length == -1 {
        return Ok(Cell::Null);
    }
    let length = usize::try_from(length).map_err(|_| malformed())?;
    let (bytes, after) = rest.split_at_checked(length).ok_or_else(malformed)?;
    *rest = after;
    cell(ty, bytes)
}

fn take_i32(rest: &mut &[u8]) -> Result<i32, DecodeError> {
    let (bytes, after) = rest.split_first_chunk().ok_or_else(malformed)?;
    *rest = after;
    Ok(i32::from_be_bytes(*bytes))
}

fn take_i64(rest: &mut &[u8]) -> Result<i64, DecodeError> {
    let (bytes, after) = rest.split_first_chunk().ok_or_else(malformed)?;
    *rest = after;
    Ok(i64::from_be_bytes(*bytes))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| malformed())
}

fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(DecodeError::new)
}

fn owned<'de>(text: String) -> Cell<'de> {
    Cell::Text(Cow::Owned(text))
}

fn malformed() -> DecodeError {
    DecodeError::new("these bytes are no value of the type")
}
