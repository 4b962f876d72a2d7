//! The types of columns: which there are, and which values fit them.

use super::moments;
use crate::codec::layout::TypeKind;
use crate::codec::text;
use postgres_types::Type;
use serde_json::Value;
use std::borrow::Cow;

/// The types that columns may have, by the names that SQL has for them.
const NAMES: &[(&str, Type)] = &[
    ("boolean", Type::BOOL),
    ("bool", Type::BOOL),
    ("smallint", Type::INT2),
    ("int2", Type::INT2),
    ("integer", Type::INT4),
    ("int", Type::INT4),
    ("int4", Type::INT4),
    ("bigint", Type::INT8),
    ("int8", Type::INT8),
    ("real", Type::FLOAT4),
    ("float4", Type::FLOAT4),
    ("double precision", Type::FLOAT8),
    ("float8", Type::FLOAT8),
    ("numeric", Type::NUMERIC),
    ("text", Type::TEXT),
    ("varchar", Type::VARCHAR),
    ("bytea", Type::BYTEA),
    ("uuid", Type::UUID),
    ("date", Type::DATE),
    ("time", Type::TIME),
    ("timestamp", Type::TIMESTAMP),
    ("timestamptz", Type::TIMESTAMPTZ),
    ("interval", Type::INTERVAL),
    ("json", Type::JSON),
    ("jsonb", Type::JSONB),
    ("boolean[]", Type::BOOL_ARRAY),
    ("smallint[]", Type::INT2_ARRAY),
    ("integer[]", Type::INT4_ARRAY),
    ("int[]", Type::INT4_ARRAY),
    ("bigint[]", Type::INT8_ARRAY),
    ("real[]", Type::FLOAT4_ARRAY),
    ("double precision[]", Type::FLOAT8_ARRAY),
    ("numeric[]", Type::NUMERIC_ARRAY),
    ("text[]", Type::TEXT_ARRAY),
    ("uuid[]", Type::UUID_ARRAY),
    ("timestamptz[]", Type::TIMESTAMPTZ_ARRAY),
];

/// The type of this name, in whatever case; `None`: it is not one of those that are known here.
pub(super) fn named(name: &str) -> Option<Type> {
    let name = name.trim().to_lowercase();
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, ty)| ty.clone())
}

/// All names, for who has used another.
pub(super) fn names() -> String {
    NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// A value that a column cannot hold: its SQLSTATE, and why.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) sqlstate: &'static str,
    pub(super) message: String,
}

impl Misfit {
    fn malformed(ty: &Type, value: &str) -> Misfit {
        Misfit { sqlstate: "22P02", message: format!("invalid input syntax for type {ty}: {value}") }
    }

    fn out_of_range(ty: &Type, value: &str) -> Misfit {
        Misfit { sqlstate: "22003", message: format!("value {value} is out of range for type {ty}") }
    }
}

/// The JSON text in the one form in which a column of this type keeps it.
pub(super) fn kept<'a>(ty: &Type, text: &'a str) -> Result<Cow<'a, str>, Misfit> {
    if text == "null" {
        return Ok(Cow::Borrowed(text));
    }
    let malformed = || Misfit::malformed(ty, text);
    let kind = TypeKind::of(ty);
    let word = || serde_json::from_str::<String>(text).map_err(|_| malformed());
    let quoted = |text: String| Cow::Owned(Value::String(text).to_string());
    match kind {
        TypeKind::Bool if matches!(text, "true" | "false") => Ok(Cow::Borrowed(text)),
        kind if kind.is_integer() => integer(ty, kind, text),
        TypeKind::Float4 | TypeKind::Float8 | TypeKind::Numeric => number(ty, kind, text),
        // A number that is put into a text becomes one.
        TypeKind::Text if !text.starts_with('"') => Ok(quoted(text.to_owned())),
        TypeKind::Text => {
            let word = word()?;
            let has_null = word.contains('\0');
            if has_null {
                Err(Misfit { sqlstate: "22021", message: "a text cannot hold U+0000".to_owned() })
            } else {
                // However its characters were escaped.
                Ok(quoted(word))
            }
        }
        TypeKind::Bytes => {
            let bytes = text::unhex(&word()?).ok_or_else(malformed)?;
            Ok(quoted(text::hex(&bytes)))
        }
        TypeKind::Uuid => {
            let uuid = uuid::Uuid::parse_str(&word()?).map_err(|_| malformed())?;
            Ok(quoted(uuid.to_string()))
        }
        TypeKind::Date | TypeKind::Timestamp | TypeKind::Timestamptz => {
            moments::micros(&word()?).ok_or_else(|| Misfit { sqlstate: "22007", ..malformed() })?;
            Ok(Cow::Borrowed(text))
        }
        TypeKind::Time => {
            moments::time_of_day(&word()?).ok_or_else(|| Misfit { sqlstate: "22007", ..malformed() })?;
            Ok(Cow::Borrowed(text))
        }
        TypeKind::Timetz | TypeKind::Interval => word().map(|_| Cow::Borrowed(text)),
        // In one order of members, and without blanks.
        TypeKind::Jsonb => {
            let value: Value = serde_json::from_str(text).map_err(|_| malformed())?;
            if has_null_character(&value) {
                return Err(Misfit { sqlstate: "22P05", message: "\\u0000 cannot be converted to text.".to_owned() });
            }
            Ok(Cow::Owned(value.to_string()))
        }
        TypeKind::Json => Ok(Cow::Borrowed(text)),
        TypeKind::Array(element) => list(element, text).ok_or_else(malformed)?,
        TypeKind::Bool | TypeKind::Oid | TypeKind::Composite(_) | TypeKind::Other => Err(malformed()),
        TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8 => Err(malformed()),
    }
}

fn integer<'a>(ty: &Type, kind: TypeKind<'_>, text: &'a str) -> Result<Cow<'a, str>, Misfit> {
    let digits = text.trim_matches('"');
    let Ok(number) = digits.parse::<i128>() else { return Err(Misfit::malformed(ty, text)) };
    let fits = match kind {
        TypeKind::Int2 => i16::try_from(number).is_ok(),
        TypeKind::Int4 => i32::try_from(number).is_ok(),
        _ => i64::try_from(number).is_ok(),
    };
    if fits { Ok(Cow::Owned(number.to_string())) } else { Err(Misfit::out_of_range(ty, digits)) }
}

fn has_null_character(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(elements) => elements.iter().any(has_null_character),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_null_character(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn number<'a>(ty: &Type, kind: TypeKind<'_>, text: &'a str) -> Result<Cow<'a, str>, Misfit> {
    let fits = |plain: &str| match kind {
        TypeKind::Float4 => plain.parse::<f32>().is_ok_and(f32::is_finite),
        TypeKind::Float8 => plain.parse::<f64>().is_ok_and(f64::is_finite),
        _ => true,
    };
    let plain = text.trim_matches('"');
    match plain {
        "NaN" | "Infinity" | "-Infinity" => Ok(Cow::Owned(format!("\"{plain}\""))),
        _ if cache_sync_core::decimal::is_number(plain) && fits(plain) => Ok(Cow::Borrowed(plain)),
        _ if cache_sync_core::decimal::is_number(plain) => Err(Misfit::out_of_range(ty, plain)),
        _ => Err(Misfit::malformed(ty, text)),
    }
}

/// `None`: it is no list.
fn list<'a>(element: &Type, text: &str) -> Option<Result<Cow<'a, str>, Misfit>> {
    let elements: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).ok()?;
    let kept = elements.into_iter().map(|one| kept(element, one.get()).map(Cow::into_owned));
    Some(kept.collect::<Result<Vec<_>, _>>().map(|kept| Cow::Owned(format!("[{}]", kept.join(",")))))
}
