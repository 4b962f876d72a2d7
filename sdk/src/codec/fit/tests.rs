//! Which Rust types go with which columns.

use super::*;
use crate::codec::layout::tests::layout;
use cache_sync_core::rule::Rule;
use serde::Deserialize;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

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

fn mood(labels: &[&str]) -> Type {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Type::new("mood".into(), 90_000, Kind::Enum(labels), "public".into())
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
        fits::<InText>(Type::INT8),
        fits::<Mood>(mood(&["happy", "sad"])),
        fits::<Vec<Vec<i64>>>(Type::INT8_ARRAY),
        fits::<[i64; 2]>(Type::INT8_ARRAY),
        fits::<[u8; 16]>(Type::UUID),
        fits::<[u8; 4]>(Type::BYTEA),
        fits::<std::num::NonZeroI64>(Type::INT8),
        fits::<chrono::DateTime<chrono::Utc>>(Type::TIMESTAMPTZ),
        fits::<Option<chrono::NaiveDateTime>>(Type::TIMESTAMP),
        fits::<chrono::NaiveDate>(Type::DATE),
        fits::<chrono::NaiveTime>(Type::TIME),
        fits::<time::Date>(Type::DATE),
        fits::<jiff::Timestamp>(Type::TIMESTAMPTZ),
        fits::<jiff::civil::DateTime>(Type::TIMESTAMP),
        fits::<jiff::civil::Date>(Type::DATE),
        fits::<jiff::civil::Time>(Type::TIME),
        fits::<jiff::Span>(Type::INTERVAL),
    ] {
        assert_eq!(fit, Ok(()));
    }
    check::<HashMap<String, serde_json::Value>>(&layout(&[("id", Type::INT8, Rule::Lww)])).unwrap();
}

#[test]
fn what_can_hold_none_does_not() {
    for (misfit, said) in [
        (fits::<i32>(Type::TEXT), "the member \"x\" (i32) cannot hold the column \"x\" (text): invalid type: string"),
        (fits::<i64>(Type::TIMESTAMPTZ), "make it `chrono::DateTime<Utc>`"),
        (fits::<Option<i64>>(Type::UUID), "the member \"x\" (Option<i64>) cannot hold the column \"x\" (uuid)"),
        (fits::<bool>(Type::INT4), "make it `i32`"),
        (fits::<i64>(Type::BOOL), "make it `bool`"),
        (fits::<Vec<i64>>(Type::INT8), "make it `i64`"),
        (
            fits::<String>(Type::INT8),
            "(String) cannot hold the column \"x\" (int8): it takes texts that are no numbers; make it `i64`",
        ),
        (fits::<Option<Box<str>>>(Type::FLOAT4), "(Option<Box<str>>) cannot hold the column \"x\" (float4)"),
        (fits::<String>(Type::TEXT_ARRAY), "(text[]): invalid type"),
        (fits::<Vec<i64>>(Type::TEXT_ARRAY), "make it a `Vec` of what holds text: `String`"),
        (fits::<HashMap<String, i64>>(Type::TEXT), "(HashMap<String, i64>)"),
        (fits::<Mood>(mood(&["sad"])), "its variants must bear the labels sad"),
        (fits::<IpAddr>(Type::CIDR), "make it `String`"),
        (
            fits::<time::OffsetDateTime>(Type::TIMESTAMPTZ),
            "(OffsetDateTime) cannot hold the column \"x\" (timestamptz)",
        ),
        (fits::<time::OffsetDateTime>(Type::TIMESTAMPTZ), "give it `#[serde(with = \"time::serde::rfc3339\")]`"),
        (
            fits::<Option<time::OffsetDateTime>>(Type::TIMESTAMPTZ),
            "`#[serde(with = \"time::serde::rfc3339::option\")]`",
        ),
        (fits::<time::Time>(Type::TIME), "`time::serde::format_description!(form, Time, "),
        (
            fits::<time::PrimitiveDateTime>(Type::TIMESTAMP),
            "`time::serde::format_description!(form, PrimitiveDateTime, ",
        ),
        (fits::<chrono::NaiveDateTime>(Type::TIMESTAMPTZ), "make it `chrono::DateTime<Utc>`"),
        (fits::<chrono::DateTime<chrono::Utc>>(Type::TIMESTAMP), "make it `chrono::NaiveDateTime`"),
        (fits::<chrono::DateTime<chrono::Utc>>(Type::DATE), "make it `chrono::NaiveDate`"),
        (fits::<chrono::DateTime<chrono::Utc>>(Type::INT8), "make it `i64`"),
        (fits::<uuid::Uuid>(Type::INT8), "make it `i64`"),
        (fits::<uuid::Uuid>(Type::BYTEA), "make it `Vec<u8>`"),
        (fits::<Duration>(Type::INTERVAL), "give it `#[serde(with = \"cache_sync::interval\")]`"),
        (fits::<SystemTime>(Type::TIMESTAMPTZ), "make it `chrono::DateTime<Utc>`"),
    ] {
        let message = misfit.expect_err(said);
        assert!(message.contains(said), "{message}");
    }
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether it fits is of interest")]
struct Wrapped {
    #[serde(with = "time::serde::timestamp")]
    at: time::OffsetDateTime,
}

#[test]
fn an_attribute_that_is_for_another_form_is_named() {
    let error = check::<Wrapped>(&layout(&[("at", Type::TIMESTAMPTZ, Rule::Lww)])).unwrap_err().to_string();
    assert!(error.contains("the member \"at\" (with its `#[serde(with)]`) cannot hold"), "{error}");
    assert!(error.contains("its `#[serde(with)]` does not read the column's form"), "{error}");
}

/// A number in a text is one that its type reads.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct InText;

impl TryFrom<String> for InText {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<InText, Self::Error> {
        text.parse::<i64>().map(|_| InText)
    }
}

/// A version that is none of the samples', as all rows may have.
#[derive(Deserialize)]
#[serde(try_from = "uuid::Uuid")]
struct Ordered;

impl TryFrom<uuid::Uuid> for Ordered {
    type Error = &'static str;

    fn try_from(id: uuid::Uuid) -> Result<Ordered, &'static str> {
        if id.get_version_num() == 7 { Ok(Ordered) } else { Err("only version 7 is ordered by time") }
    }
}

#[test]
fn a_type_of_ones_own_may_be_choosy() {
    assert_eq!(fits::<Ordered>(Type::UUID), Ok(()));
    assert_eq!(fits::<Option<Ordered>>(Type::UUID), Ok(()));
    assert!(fits::<i64>(Type::UUID).is_err());
}

/// What is only read is not written as what is no number.
#[test]
fn the_text_of_a_key_is_a_text() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only whether it fits is of interest")]
    struct Keyed {
        id: String,
        x: i64,
    }
    let columns = [("id", Type::INT8, Rule::Lww), ("x", Type::INT8, Rule::Lww)];
    check::<Keyed>(&layout(&columns)).unwrap();
    assert!(fits::<String>(Type::INT8).is_err());
}

/// Whoever has one column has it by its name.
#[test]
fn a_row_that_may_be_none_is_a_row() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only whether it fits is of interest")]
    struct One {
        id: i64,
    }
    check::<Option<One>>(&layout(&[("id", Type::INT8, Rule::Lww)])).unwrap();
}
