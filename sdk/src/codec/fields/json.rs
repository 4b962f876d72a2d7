//! A field's JSON text as the cell that a row would have brought.

use crate::codec::layout::{DIMENSIONS_MAX, TypeKind};
use crate::codec::row::{Cell, DecodeError};
use crate::codec::text;
use postgres_types::{Field, Type};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The value of this type in this JSON text.
pub(super) fn cell<'de>(ty: &'de Type, text: &'de str) -> Result<Cell<'de>, DecodeError> {
    let kind = TypeKind::of(ty);
    if matches!(kind, TypeKind::Json | TypeKind::Jsonb) {
        return Ok(Cell::Json(text));
    }
    match (text.as_bytes().first(), kind) {
        (Some(b'n'), _) => Ok(Cell::Null),
        (Some(b't' | b'f'), TypeKind::Bool) => Ok(Cell::Bool(text == "true")),
        (Some(b'-' | b'0'..=b'9'), _) => Ok(number(kind, text)),
        (Some(b'"'), _) => string(kind, unquoted(text)?),
        (Some(b'['), TypeKind::Array(element)) => list(element, text, DIMENSIONS_MAX),
        (Some(b'['), TypeKind::Bytes) => {
            serde_json::from_str(text).map(|bytes| Cell::Bytes(Cow::Owned(bytes))).map_err(DecodeError::new)
        }
        (Some(b'{'), TypeKind::Composite(fields)) => composite(fields, text),
        _ => Ok(Cell::Text(Cow::Borrowed(text))),
    }
}

fn number<'de>(kind: TypeKind<'_>, text: &'de str) -> Cell<'de> {
    let parsed = match kind {
        TypeKind::Float4 => text.parse().ok().map(Cell::Float4),
        TypeKind::Float8 => text.parse().ok().map(Cell::Float8),
        TypeKind::Numeric => None,
        kind if kind.is_integer() => text.parse().ok().map(Cell::Int),
        _ => Some(Cell::Text(Cow::Borrowed(text))),
    };
    parsed.unwrap_or(Cell::Numeric(Cow::Borrowed(text)))
}

fn string<'de>(kind: TypeKind<'_>, content: Cow<'de, str>) -> Result<Cell<'de>, DecodeError> {
    let parsed = match kind {
        TypeKind::Float4 => content.parse().ok().map(Cell::Float4),
        TypeKind::Float8 => content.parse().ok().map(Cell::Float8),
        TypeKind::Numeric if matches!(&*content, "NaN" | "Infinity" | "-Infinity") => {
            return Ok(Cell::Numeric(content));
        }
        TypeKind::Bytes => text::unhex(&content).map(|bytes| Cell::Bytes(Cow::Owned(bytes))),
        TypeKind::Uuid => uuid::Uuid::parse_str(&content).ok().map(|uuid| Cell::Uuid(uuid.into_bytes())),
        _ => None,
    };
    Ok(parsed.unwrap_or(Cell::Text(content)))
}

fn list<'de>(element: &'de Type, text: &'de str, dimensions: u8) -> Result<Cell<'de>, DecodeError> {
    let Some(inner_dimensions) = dimensions.checked_sub(1) else {
        return Err(DecodeError::new("an array has too many dimensions"));
    };
    let documents = matches!(TypeKind::of(element), TypeKind::Json | TypeKind::Jsonb);
    let values: Vec<&'de RawValue> = serde_json::from_str(text).map_err(DecodeError::new)?;
    let cells = values.into_iter().map(|value| match value.get() {
        "null" => Ok(Cell::Null),
        inner if inner.starts_with('[') && !documents => list(element, inner, inner_dimensions),
        inner => cell(element, inner),
    });
    cells.collect::<Result<_, _>>().map(Cell::List)
}

fn composite<'de>(fields: &'de [Field], text: &'de str) -> Result<Cell<'de>, DecodeError> {
    let values: BTreeMap<String, &'de RawValue> = serde_json::from_str(text).map_err(DecodeError::new)?;
    let cells = fields.iter().map(|field| {
        let value = values.get(field.name()).map_or("null", |value| value.get());
        Ok((field.name(), cell(field.type_(), value)?))
    });
    cells.collect::<Result<_, _>>().map(Cell::Record)
}

fn unquoted(text: &str) -> Result<Cow<'_, str>, DecodeError> {
    match text.get(1..text.len().saturating_sub(1)) {
        Some(content) if !content.contains('\\') => Ok(Cow::Borrowed(content)),
        _ => serde_json::from_str(text).map(Cow::Owned).map_err(DecodeError::new),
    }
}
