//! JSON texts in the form in which Postgres reads a column.

use crate::codec::layout::{DIMENSIONS_MAX, TypeKind};
use crate::codec::row::is_json_number;
use crate::codec::text;
use cache_sync_core::decimal;
use postgres_types::{Field, Type};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The one form of a value of this type: numbers as numbers, not as strings (as decimal types serialize themselves),
/// bytes and uuids as texts, not as lists of bytes, composites as objects. What is of no such form stays as it is.
pub(super) fn canonical<'a>(ty: &Type, text: &'a str) -> Cow<'a, str> {
    Form { recordset: false, dimensions: DIMENSIONS_MAX }.of(ty, text)
}

/// The same for `json_to_recordset`, which takes lists within a list for another dimension: an array of documents is
/// given as an array literal.
pub(super) fn for_recordset<'a>(ty: &Type, text: &'a str) -> Cow<'a, str> {
    Form { recordset: true, dimensions: DIMENSIONS_MAX }.of(ty, text)
}

#[derive(Clone, Copy)]
struct Form {
    recordset: bool,
    /// How many more dimensions an array can have.
    dimensions: u8,
}

impl Form {
    fn of<'a>(self, ty: &Type, text: &'a str) -> Cow<'a, str> {
        match TypeKind::of(ty) {
            kind if kind.is_number() => {
                let text = unquoted_number(text).unwrap_or(text);
                // Floats and decimals write a whole number as `1.0` or `1e16`, which Postgres does not take for one.
                own_or(text, if kind.is_integer() { decimal::plain_integer(text) } else { None })
            }
            TypeKind::Bytes => own_or(text, byte_list(text).map(|bytes| json_string(&text::hex(&bytes)))),
            TypeKind::Uuid => own_or(text, byte_list(text).and_then(uuid_string)),
            TypeKind::Interval if self.recordset => own_or(text, signed_interval(text)),
            TypeKind::Array(element) if text.starts_with('[') => own_or(text, self.array(element, text)),
            TypeKind::Composite(fields) => own_or(text, self.composite(fields, text)),
            _ => Cow::Borrowed(text),
        }
    }

    /// The array, if anything in it had another form.
    fn array(self, element: &Type, text: &str) -> Option<String> {
        let kind = TypeKind::of(element);
        if matches!(kind, TypeKind::Json | TypeKind::Jsonb) {
            return if self.recordset { array_literal(text) } else { None };
        }
        let as_is = match kind {
            TypeKind::Bytes | TypeKind::Uuid | TypeKind::Composite(_) => false,
            TypeKind::Interval => !(self.recordset && text.contains("\"-P")),
            kind if kind.is_integer() => !text.contains(['"', '.', 'e', 'E']),
            kind => !kind.is_number() || !text.contains('"'),
        };
        if as_is {
            return None;
        }
        self.list(text, |text| {
            let is_element = match kind {
                _ if !text.starts_with('[') => true,
                TypeKind::Bytes => byte_list(text).is_some(),
                TypeKind::Uuid => byte_list(text).is_some_and(|bytes| bytes.len() == 16),
                TypeKind::Composite(_) => !text[1..].trim_start().starts_with('{'),
                _ => false,
            };
            match self.dimensions.checked_sub(1) {
                _ if is_element => self.of(element, text),
                None => Cow::Borrowed(text),
                Some(dimensions) => own_or(text, Form { dimensions, ..self }.array(element, text)),
            }
        })
    }

    fn list<'a>(self, text: &'a str, form: impl Fn(&'a str) -> Cow<'a, str>) -> Option<String> {
        let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        let mut out = String::with_capacity(text.len());
        for element in elements {
            out.push(if out.is_empty() { '[' } else { ',' });
            out.push_str(&form(element.get()));
        }
        if out.is_empty() {
            return None;
        }
        out.push(']');
        Some(out)
    }

    fn composite(self, fields: &[Field], text: &str) -> Option<String> {
        let given: Vec<(&Field, &RawValue)> = if text.starts_with('[') {
            let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            if values.len() != fields.len() {
                return None;
            }
            fields.iter().zip(values).collect()
        } else {
            let values: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            if !values.keys().all(|name| fields.iter().any(|field| field.name() == name)) {
                return None;
            }
            fields.iter().filter_map(|field| Some((field, *values.get(field.name())?))).collect()
        };
        let mut out = String::with_capacity(text.len() + 16);
        for (field, value) in given {
            out.push(if out.is_empty() { '{' } else { ',' });
            text::push_json_string(&mut out, field.name());
            out.push(':');
            out.push_str(&self.of(field.type_(), value.get()));
        }
        if out.is_empty() {
            return None;
        }
        out.push('}');
        Some(out)
    }
}

/// A string's content if it is a number as JSON writes them.
fn unquoted_number(text: &str) -> Option<&str> {
    let content = text.strip_prefix('"')?.strip_suffix('"')?;
    is_json_number(content).then_some(content)
}

/// An interval with one sign ahead in the form that Postgres reads.
fn signed_interval(text: &str) -> Option<String> {
    let interval = text.strip_prefix('"')?.strip_suffix('"')?;
    text::signed_parts(interval).map(|parts| json_string(&parts))
}

fn byte_list(text: &str) -> Option<Vec<u8>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

fn uuid_string(bytes: Vec<u8>) -> Option<String> {
    let uuid = uuid::Uuid::from_slice(&bytes).ok()?;
    Some(json_string(&uuid.to_string()))
}

/// The list of documents as the text of a Postgres array, in a JSON string.
fn array_literal(text: &str) -> Option<String> {
    let documents: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let mut out = String::with_capacity(text.len() + 2 + 2 * documents.len());
    out.push('{');
    for (place, document) in documents.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        if document.get() == "null" {
            out.push_str("NULL");
        } else {
            out.push('"');
            out.push_str(&document.get().replace('\\', "\\\\").replace('"', "\\\""));
            out.push('"');
        }
    }
    out.push('}');
    Some(json_string(&out))
}

fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    text::push_json_string(&mut out, text);
    out
}

fn own_or(text: &str, changed: Option<String>) -> Cow<'_, str> {
    changed.map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_types::Kind;

    fn pair() -> Type {
        let fields = vec![Field::new("n".into(), Type::NUMERIC), Field::new("b".into(), Type::BYTEA)];
        Type::new("pair".into(), 90_001, Kind::Composite(fields), "public".into())
    }

    fn array_of(element: Type) -> Type {
        Type::new("_array".into(), 90_002, Kind::Array(element), "public".into())
    }

    #[test]
    fn numbers_are_numbers() {
        for (ty, given, form) in [
            (&Type::NUMERIC, r#""1.50""#, "1.50"),
            (&Type::INT8, r#""-7""#, "-7"),
            (&Type::INT8, "1e16", "10000000000000000"),
            (&Type::INT4, r#""1E+3""#, "1000"),
            (&Type::INT4, "1.5", "1.5"),
            (&Type::INT4_ARRAY, "[1.0,null,[2e1]]", "[1,null,[20]]"),
            (&Type::FLOAT8, "-0.0", "-0.0"),
            (&Type::NUMERIC, r#""NaN""#, r#""NaN""#),
            (&Type::NUMERIC, r#""1 ""#, r#""1 ""#),
            (&Type::TEXT, r#""1.50""#, r#""1.50""#),
            (&Type::NUMERIC_ARRAY, r#"["1.50",null,2,["3"]]"#, "[1.50,null,2,[3]]"),
            (&Type::NUMERIC_ARRAY, "[]", "[]"),
        ] {
            assert_eq!(canonical(ty, given), form);
        }
    }

    #[test]
    fn bytes_are_hexadecimal() {
        assert_eq!(canonical(&Type::BYTEA, "[1,255]"), r#""\\x01ff""#);
        assert_eq!(canonical(&Type::BYTEA, r#""\\x01""#), r#""\\x01""#);
        assert_eq!(canonical(&Type::BYTEA, "[1,256]"), "[1,256]");
        assert_eq!(canonical(&Type::BYTEA_ARRAY, "[[1],[],null]"), r#"["\\x01","\\x",null]"#);
        assert_eq!(canonical(&Type::BYTEA_ARRAY, "[[[1],[2]]]"), r#"[["\\x01","\\x02"]]"#);
        assert_eq!(
            canonical(&Type::UUID, "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]"),
            r#""00010203-0405-0607-0809-0a0b0c0d0e0f""#
        );
    }

    #[test]
    fn composites_are_objects() {
        assert_eq!(canonical(&pair(), r#"["1.0",[7]]"#), r#"{"n":1.0,"b":"\\x07"}"#);
        assert_eq!(canonical(&pair(), r#"{"b":null,"n":"2"}"#), r#"{"n":2,"b":null}"#);
        assert_eq!(canonical(&array_of(pair()), r#"[["1",[7]],null]"#), r#"[{"n":1,"b":"\\x07"},null]"#);
        assert_eq!(canonical(&array_of(pair()), r#"[[{"n":"1"}]]"#), r#"[[{"n":1}]]"#);
    }

    #[test]
    fn intervals_have_the_signs_that_postgres_reads() {
        for (ty, given, form) in [
            (&Type::INTERVAL, r#""-P1DT1H""#, r#""P-1DT-1H""#),
            (&Type::INTERVAL, r#""P1D""#, r#""P1D""#),
            (&Type::INTERVAL_ARRAY, r#"["-P1D",null,["P1D"]]"#, r#"["P-1D",null,["P1D"]]"#),
        ] {
            assert_eq!((canonical(ty, given), for_recordset(ty, given)), (given.into(), form.into()));
        }
    }

    #[test]
    fn arrays_of_documents_do_not_become_dimensions() {
        let given = r#"[[1,"a\"b"],null,{"k":"\\"}]"#;
        assert_eq!(canonical(&Type::JSONB_ARRAY, given), given);
        let literal: String = serde_json::from_str(&for_recordset(&Type::JSONB_ARRAY, given)).unwrap();
        assert_eq!(literal, r#"{"[1,\"a\\\"b\"]",NULL,"{\"k\":\"\\\\\"}"}"#);
        assert_eq!(for_recordset(&Type::JSONB, given), given);
    }
}
