//! Whether a type's members can hold what their columns hold at all.

use super::caught::caught;
use super::fields;
use super::layout::{Column, Layout, TypeKind};
use super::row::{DecodeError, Members};
use serde::de::DeserializeOwned;

/// Shows the type one value of each column; a member that takes none of this type is a mistake, and so is what it would write. What a
/// member thinks of the value itself says nothing.
///
/// # Errors
/// [`DecodeError`] that names the column, for the first member that does not fit.
pub(crate) fn check<V: DeserializeOwned>(layout: &Layout) -> Result<(), DecodeError> {
    for column in &layout.columns {
        let Some(sample) = sample(column) else { continue };
        let member = std::iter::once((column, move || fields::cell(&column.ty, sample)));
        match caught(|| V::deserialize(Members::new(member))) {
            Ok(Err(error)) if error.is_of_type() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// The JSON text of some value that the column can hold; `None` for documents, which hold anything.
fn sample(column: &Column) -> Option<&'static str> {
    Some(match TypeKind::of(&column.ty) {
        TypeKind::Bool => "false",
        kind if kind.is_number() => "0",
        TypeKind::Json | TypeKind::Jsonb | TypeKind::Composite(_) => return None,
        TypeKind::Array(_) => "[]",
        TypeKind::Uuid => "\"00000000-0000-0000-0000-000000000000\"",
        TypeKind::Date => "\"2000-01-01\"",
        TypeKind::Timestamp => "\"2000-01-01T00:00:00\"",
        TypeKind::Timestamptz => "\"2000-01-01T00:00:00Z\"",
        TypeKind::Time => "\"00:00:00\"",
        TypeKind::Bytes => "\"\\\\x\"",
        _ => "\"\"",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::layout::tests::layout;
    use cache_sync_core::rule::Rule;
    use postgres_types::Type;
    use serde::Deserialize;
    use std::collections::HashMap;
    use std::net::IpAddr;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only whether it fits is of interest")]
    struct Of<T> {
        id: i64,
        x: T,
    }

    /// A text that says no to what is empty.
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Name;

    impl TryFrom<String> for Name {
        type Error = &'static str;

        fn try_from(name: String) -> Result<Name, &'static str> {
            if name.is_empty() { Err("a name is not empty") } else { Ok(Name) }
        }
    }

    /// One that panics instead.
    #[derive(Deserialize)]
    #[serde(from = "String")]
    struct Strict;

    impl From<String> for Strict {
        fn from(name: String) -> Strict {
            assert!(!name.is_empty(), "a name is not empty");
            Strict
        }
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mood {
        Happy,
    }

    fn fits<T: DeserializeOwned>(ty: Type) -> Result<(), String> {
        let columns = [("id", Type::INT8, Rule::Lww), ("x", ty, Rule::Lww)];
        check::<Of<T>>(&layout(&columns)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_can_hold_some_value_of_the_column_fits() {
        for fit in [
            fits::<i32>(Type::INT8),
            fits::<Option<i64>>(Type::INT8),
            fits::<f64>(Type::NUMERIC),
            fits::<String>(Type::NUMERIC),
            fits::<String>(Type::TEXT),
            fits::<String>(Type::TIMESTAMPTZ),
            fits::<Name>(Type::TEXT),
            fits::<Strict>(Type::TEXT),
            fits::<Mood>(Type::TEXT),
            fits::<IpAddr>(Type::INET),
            fits::<uuid::Uuid>(Type::UUID),
            fits::<Vec<u8>>(Type::BYTEA),
            fits::<Vec<String>>(Type::TEXT_ARRAY),
            fits::<serde_json::Value>(Type::INTERVAL),
            fits::<HashMap<String, i64>>(Type::JSONB),
            fits::<i64>(Type::JSONB),
        ] {
            assert_eq!(fit, Ok(()));
        }
        check::<HashMap<String, serde_json::Value>>(&layout(&[("id", Type::INT8, Rule::Lww)])).unwrap();
    }

    #[test]
    fn what_can_hold_none_does_not() {
        for (misfit, ty) in [
            (fits::<i32>(Type::TEXT), "text"),
            (fits::<i64>(Type::TIMESTAMPTZ), "timestamptz"),
            (fits::<Option<i64>>(Type::UUID), "uuid"),
            (fits::<bool>(Type::INT4), "int4"),
            (fits::<i64>(Type::BOOL), "bool"),
            (fits::<Vec<i64>>(Type::INT8), "int8"),
            (fits::<String>(Type::TEXT_ARRAY), "_text"),
            (fits::<HashMap<String, i64>>(Type::TEXT), "text"),
        ] {
            let message = misfit.unwrap_err();
            assert!(message.starts_with(&format!("column \"x\" ({ty}): invalid type: ")), "{message}");
        }
    }
}
