//! Values as fields, and back.

use super::{from_fields, sql_json, to_field, to_fields};
use crate::codec::layout::Layout;
use crate::codec::layout::tests::layout;
use crate::codec::row::tests::{domain, mood, pair, read, sent};
use cache_sync_core::fields::Fields;
use cache_sync_core::rule::Rule;
use postgres_types::{ToSql, Type};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Member<T> {
    x: T,
}

fn x(ty: &Type) -> Layout {
    layout(&[("id", Type::INT8, Rule::Lww), ("x", ty.clone(), Rule::Lww)])
}

/// What the member `x` is in a patch.
fn written<T: Serialize>(ty: &Type, value: &T) -> Result<String, String> {
    let fields = to_fields(&x(ty), &Member { x: value }).map_err(|error| error.to_string())?;
    Ok(fields.get(1).unwrap().to_owned())
}

fn back<T: DeserializeOwned>(ty: &Type, json: &str) -> Result<T, String> {
    let fields = Fields::from_iter([(1, json)]);
    from_fields(&x(ty), &fields).map(|member: Member<T>| member.x).map_err(|error| error.to_string())
}

/// A value of this type, sent by Postgres, is read, written, and read again.
fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(ty: &Type, bytes: &[u8]) -> String {
    let row: T = read(ty, bytes).unwrap();
    let json = written(ty, &row).unwrap();
    assert_eq!(back::<T>(ty, &json).as_ref(), Ok(&row), "{json}");
    json
}

#[test]
fn what_the_row_gave_comes_back() {
    let one = 1i64.to_be_bytes();
    assert_eq!(there_and_back::<i64>(&Type::INT8, &one), "1");
    assert_eq!(there_and_back::<String>(&Type::INT8, &one), "1");
    assert_eq!(there_and_back::<u128>(&Type::INT8, &one), "1");
    assert_eq!(there_and_back::<Option<f64>>(&Type::INT8, &one), "1");
    assert_eq!(there_and_back::<Value>(&Type::FLOAT4, &0.1f32.to_be_bytes()), "0.1");
    assert_eq!(there_and_back::<f64>(&Type::FLOAT4, &0.1f32.to_be_bytes()), "0.10000000149011612");
    assert_eq!(there_and_back::<String>(&Type::FLOAT8, &f64::NAN.to_be_bytes()), "\"NaN\"");
    assert_eq!(there_and_back::<f64>(&Type::FLOAT8, &f64::INFINITY.to_be_bytes()), "\"Infinity\"");
    let numeric = [0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 13, 72];
    assert_eq!(there_and_back::<String>(&Type::NUMERIC, &numeric), "12.34");
    assert_eq!(there_and_back::<Value>(&Type::NUMERIC, &numeric), "12.34");
    assert_eq!(there_and_back::<f64>(&Type::NUMERIC, &numeric), "12.34");
    assert_eq!(there_and_back::<Vec<u8>>(&Type::BYTEA, &[0, 255]), r#""\\x00ff""#);
    assert_eq!(there_and_back::<String>(&Type::BYTEA, &[0, 255]), r#""\\x00ff""#);
    assert_eq!(there_and_back::<[u8; 16]>(&Type::UUID, &[1; 16]), "\"01010101-0101-0101-0101-010101010101\"");
    assert_eq!(there_and_back::<uuid::Uuid>(&Type::UUID, &[1; 16]), "\"01010101-0101-0101-0101-010101010101\"");
    assert_eq!(there_and_back::<bool>(&Type::BOOL, &[1]), "true");
    assert_eq!(there_and_back::<String>(&Type::DATE, &[0; 4]), "\"2000-01-01\"");
    assert_eq!(there_and_back::<String>(&mood(), b"sad"), "\"sad\"");
    assert_eq!(there_and_back::<i8>(&domain(Type::INT8), &one), "1");
    assert_eq!(there_and_back::<Value>(&Type::JSONB, b"\x01{\"a\":[1.0,null]}"), "{\"a\":[1.0,null]}");
    assert_eq!(there_and_back::<Option<Value>>(&Type::JSONB, b"\x01null"), "null");
    let list = sent(&Type::TEXT_ARRAY, &vec![Some("a\"\\"), None]);
    assert_eq!(there_and_back::<Vec<Option<String>>>(&Type::TEXT_ARRAY, &list), r#"["a\"\\",null]"#);
    let blobs = sent(&Type::BYTEA_ARRAY, &vec![&b"\x01"[..], b""]);
    assert_eq!(there_and_back::<Vec<Vec<u8>>>(&Type::BYTEA_ARRAY, &blobs), r#"["\\x01","\\x"]"#);
    let mut record = vec![0, 0, 0, 2, 0, 0, 0, 23, 0, 0, 0, 4, 0, 0, 0, 7];
    record.extend([0, 0, 0, 17, 0, 0, 0, 1, 9]);
    assert_eq!(there_and_back::<(i32, Vec<u8>)>(&pair(), &record), r#"{"n":7,"b":"\\x09"}"#);
    assert_eq!(there_and_back::<BTreeMap<String, Value>>(&pair(), &record), r#"{"n":7,"b":"\\x09"}"#);
}

#[test]
fn documents_keep_their_text() {
    let raw = read::<Box<RawValue>>(&Type::JSON, b"{\"n\": 123456789012345678901234567890.10}").unwrap();
    let json = written(&Type::JSON, &raw).unwrap();
    assert_eq!(json, raw.get());
    assert_eq!(back::<Box<RawValue>>(&Type::JSON, &json).unwrap().get(), raw.get());
    assert_eq!(back::<Box<RawValue>>(&Type::JSON, "null").unwrap().get(), "null");
}

#[test]
fn no_digit_is_lost() {
    assert_eq!(written(&Type::NUMERIC, &u128::MAX).unwrap(), u128::MAX.to_string());
    assert_eq!(back::<u128>(&Type::NUMERIC, &u128::MAX.to_string()), Ok(u128::MAX));
    let digits = format!("{}.{}", "9".repeat(60), "1".repeat(40));
    assert_eq!(written(&Type::NUMERIC, &digits).unwrap(), digits);
    assert_eq!(back::<String>(&Type::NUMERIC, &digits), Ok(digits));
    assert!(back::<f64>(&Type::NUMERIC, "0.12345678901234567890").is_err());
    assert_eq!(back::<i64>(&Type::NUMERIC, "3.00"), Ok(3));
}

#[test]
fn what_postgres_cannot_hold_is_refused_by_name() {
    let nul = "member \"x\": Postgres cannot hold the character U+0000";
    assert_eq!(written(&Type::TEXT, &"a\0").unwrap_err(), nul);
    assert_eq!(written(&Type::JSONB, &json!({"a": [{"b\0": 1}]})).unwrap_err(), nul);
    assert_eq!(written(&Type::TEXT, &"\\u0000").unwrap(), r#""\\u0000""#);
    assert!(written(&Type::JSONB, &[f64::NAN]).unwrap_err().contains("a JSON document cannot hold NaN"));
    assert!(written(&Type::JSONB, &HashMap::from([((1, 2), 3)])).unwrap_err().starts_with("member \"x\""));
    let number = RawValue::from_string("1e200000".into()).unwrap();
    assert!(written(&Type::JSONB, &number).is_err());
}

/// Nests for ever, as a value with a reference to itself does.
struct Endless;

impl Serialize for Endless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq([Endless])
    }
}

/// Calls itself for ever without writing anything.
struct EndlessNewtype;

impl Serialize for EndlessNewtype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct("Endless", &EndlessNewtype)
    }
}

#[test]
fn depth_is_bounded_on_both_ways() {
    assert!(written(&Type::JSONB, &Endless).unwrap_err().contains("nested too deeply"));
    assert!(written(&Type::JSONB, &EndlessNewtype).unwrap_err().contains("nested too deeply"));
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let json = written(&Type::JSONB, &nested(127)).unwrap();
    assert_eq!(back::<Value>(&Type::JSONB, &json), Ok(nested(127)));
    assert!(written(&Type::JSONB, &nested(128)).unwrap_err().contains("nested more than 127 deep"));
    let deep = RawValue::from_string("[".repeat(9999) + &"]".repeat(9999)).unwrap();
    assert!(written(&Type::JSONB, &deep).is_err());
    assert!(back::<Value>(&Type::JSONB, deep.get()).is_err());
    assert!(back::<Value>(&Type::INT4_ARRAY, deep.get()).is_err());
}

#[test]
fn structs_and_maps_are_rows_and_nothing_else() {
    let layout = x(&Type::TEXT);
    let plain = |fields: Fields| fields.iter().map(|(index, value)| (index, value.to_owned())).collect::<Vec<_>>();
    let expected = vec![(0, "7".to_owned()), (1, "\"a\"".to_owned())];
    assert_eq!(plain(to_fields(&layout, &json!({"x": "a", "id": 7})).unwrap()), expected);

    #[derive(Serialize)]
    struct Outer(Option<Box<Inner>>);
    #[derive(Serialize)]
    struct Inner {
        id: i64,
        #[serde(flatten)]
        rest: Member<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        y: Option<i64>,
    }
    let mut value = Inner { id: 7, rest: Member { x: "a" }, y: None };
    assert_eq!(plain(to_fields(&layout, &value).unwrap()), expected);
    value.y = Some(1);
    assert!(
        to_fields(&layout, &value).unwrap_err().to_string().starts_with("member \"y\": the table has no such column")
    );
    value.y = None;
    assert_eq!(plain(to_fields(&layout, &Outer(Some(Box::new(value)))).unwrap()), expected);

    for error in [
        to_fields(&layout, &7).unwrap_err(),
        to_fields(&layout, &[1]).unwrap_err(),
        to_fields(&layout, &(1, 2)).unwrap_err(),
        to_fields(&layout, &None::<Member<i64>>).unwrap_err(),
        to_fields(&layout, &HashMap::from([(1, 2)])).unwrap_err(),
    ] {
        assert!(error.to_string().contains("string"), "{error}");
    }
}

#[test]
fn absent_fields_are_absent_members() {
    assert_eq!(from_fields::<Member<Option<i64>>>(&x(&Type::INT8), &Fields::new()), Ok(Member { x: None }));
    assert!(from_fields::<Member<i64>>(&x(&Type::INT8), &Fields::new()).is_err());
}

#[test]
fn an_error_on_the_way_back_names_the_column() {
    assert_eq!(
        back::<i64>(&Type::TEXT, "\"a\"").unwrap_err(),
        "column \"x\" (text): invalid type: string \"a\", expected i64"
    );
}

/// Equal to itself, NaN too.
fn same_float(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300f64).prop_map(Value::from),
        "[^\0]*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[^\0]{0,4}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// A value that Postgres sends is the same after a way through a patch.
fn survives<T: ToSql + Serialize + DeserializeOwned + PartialEq + Debug>(
    ty: &Type,
    value: &T,
) -> Result<(), TestCaseError> {
    let row: T = read(ty, &sent(ty, value)).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&row, value);
    let json = written(ty, &row).map_err(TestCaseError::fail)?;
    prop_assert_eq!(back::<T>(ty, &json), Ok(row));
    Ok(())
}

proptest! {
    #[test]
    fn simple_values_survive(int: i64, small: i16, bool: bool, text in "[^\0]*", bytes: Vec<u8>) {
        survives(&Type::INT8, &int)?;
        survives(&Type::INT2, &small)?;
        survives(&Type::BOOL, &bool)?;
        survives(&Type::TEXT, &text)?;
        survives(&Type::BYTEA, &bytes)?;
        survives(&Type::BYTEA, &Some(bytes))?;
    }

    #[test]
    fn floats_survive(float in proptest::num::f64::ANY, single in proptest::num::f32::ANY) {
        let json = written(&Type::FLOAT8, &float).unwrap();
        prop_assert!(same_float(back(&Type::FLOAT8, &json).unwrap(), float));
        let json = written(&Type::FLOAT4, &single).unwrap();
        prop_assert!(same_float(f64::from(back::<f32>(&Type::FLOAT4, &json).unwrap()), f64::from(single)));
    }

    #[test]
    fn lists_survive(ints: Vec<Option<i32>>, texts in proptest::collection::vec(proptest::option::of("[^\0]*"), 0..5), blobs: Vec<Vec<u8>>) {
        survives(&Type::INT4_ARRAY, &ints)?;
        survives(&Type::TEXT_ARRAY, &texts)?;
        survives(&Type::BYTEA_ARRAY, &blobs)?;
    }

    #[test]
    fn documents_survive(document in documents()) {
        let row: Value = read(&Type::JSON, document.to_string().as_bytes()).unwrap();
        let json = written(&Type::JSON, &row).unwrap();
        prop_assert_eq!(back::<Value>(&Type::JSON, &json), Ok(row));
    }

    /// What goes to Postgres is JSON, whatever the type.
    #[test]
    fn the_text_for_postgres_is_json(document in documents()) {
        for ty in [Type::INT8, Type::NUMERIC_ARRAY, Type::BYTEA, Type::BYTEA_ARRAY, Type::UUID, Type::JSONB_ARRAY, pair()] {
            let layout = x(&ty);
            if let Ok(value) = to_field(&layout.columns[1], &document) {
                prop_assert!(serde_json::from_str::<&RawValue>(&sql_json(&layout.columns[1], &value)).is_ok());
            }
        }
    }
}
