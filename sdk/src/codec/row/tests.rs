//! What serde gets of values in Postgres' binary form.

use super::{Cell, DecodeError, binary};
use bytes::BytesMut;
use postgres_types::{Field, Kind, ToSql, Type};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The binary form of a value, as postgres-types writes it.
pub(crate) fn sent(ty: &Type, value: &dyn ToSql) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    value.to_sql_checked(ty, &mut bytes).unwrap();
    bytes.to_vec()
}

/// A value in its binary form as a Rust type.
pub(crate) fn read<T: DeserializeOwned>(ty: &Type, bytes: &[u8]) -> Result<T, DecodeError> {
    T::deserialize(binary::cell(ty, bytes)?)
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Length and bytes of each value; none is null.
fn values(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
        bytes.extend(value.unwrap_or_default());
    }
    bytes
}

pub(crate) fn mood() -> Type {
    let labels = vec!["happy".to_owned(), "sad".to_owned()];
    Type::new("mood".into(), 90_000, Kind::Enum(labels), "public".into())
}

pub(crate) fn pair() -> Type {
    let fields = vec![Field::new("n".into(), Type::INT4), Field::new("b".into(), Type::BYTEA)];
    Type::new("pair".into(), 90_001, Kind::Composite(fields), "public".into())
}

pub(crate) fn domain(base: Type) -> Type {
    Type::new("positive".into(), 90_002, Kind::Domain(base), "public".into())
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mood {
    Happy,
    Sad,
}

#[test]
fn integers_go_into_every_type_that_holds_them() {
    let seven = sent(&Type::INT4, &7i32);
    assert_eq!(read::<i8>(&Type::INT4, &seven), Ok(7));
    assert_eq!(read::<u64>(&Type::INT4, &seven), Ok(7));
    assert_eq!(read::<i128>(&Type::INT4, &seven), Ok(7));
    assert_eq!(read::<f64>(&Type::INT4, &seven), Ok(7.0));
    assert_eq!(read::<String>(&Type::INT4, &seven), Ok("7".into()));
    assert_eq!(read::<Value>(&Type::INT4, &seven), Ok(json!(7)));
    assert_eq!(read::<i64>(&Type::INT8, &sent(&Type::INT8, &i64::MIN)), Ok(i64::MIN));
    assert_eq!(read::<u32>(&Type::OID, &sent(&Type::OID, &u32::MAX)), Ok(u32::MAX));
    assert_eq!(read::<u8>(&domain(Type::INT2), &sent(&Type::INT2, &9i16)), Ok(9));
    assert!(read::<u8>(&Type::INT4, &sent(&Type::INT4, &256i32)).is_err());
    assert!(read::<u8>(&Type::INT4, &sent(&Type::INT4, &-1i32)).is_err());
    assert!(read::<f64>(&Type::INT8, &sent(&Type::INT8, &i64::MAX)).is_err());
    assert!(read::<bool>(&Type::INT4, &seven).is_err());
}

#[test]
fn floats_and_what_is_no_number() {
    let tenth = sent(&Type::FLOAT4, &0.1f32);
    assert_eq!(read::<f32>(&Type::FLOAT4, &tenth), Ok(0.1));
    assert_eq!(read::<f64>(&Type::FLOAT4, &tenth), Ok(f64::from(0.1f32)));
    assert_eq!(read::<Value>(&Type::FLOAT4, &tenth), Ok(json!(0.1)));
    assert_eq!(read::<f64>(&Type::FLOAT8, &sent(&Type::FLOAT8, &5e-324)), Ok(5e-324));
    assert_eq!(read::<f32>(&Type::FLOAT8, &sent(&Type::FLOAT8, &0.5)), Ok(0.5));
    assert!(read::<f32>(&Type::FLOAT8, &sent(&Type::FLOAT8, &0.123_456_789_012)).is_err());
    let infinite = sent(&Type::FLOAT8, &f64::NEG_INFINITY);
    assert_eq!(read::<f64>(&Type::FLOAT8, &infinite), Ok(f64::NEG_INFINITY));
    assert_eq!(read::<f32>(&Type::FLOAT8, &infinite), Ok(f32::NEG_INFINITY));
    assert_eq!(read::<Value>(&Type::FLOAT8, &infinite), Ok(json!("-Infinity")));
    assert_eq!(read::<String>(&Type::FLOAT8, &sent(&Type::FLOAT8, &1e300)), Ok("1e300".into()));
    assert_eq!(read::<String>(&Type::FLOAT8, &sent(&Type::FLOAT8, &1.5)), Ok("1.5".into()));
}

#[test]
fn numerics_are_exact_or_an_error() {
    let money = words(&[2, 0, 0, 2, 12, 3400]);
    assert_eq!(read::<String>(&Type::NUMERIC, &money), Ok("12.34".into()));
    assert_eq!(read::<Value>(&Type::NUMERIC, &money), Ok(json!("12.34")));
    assert_eq!(read::<f64>(&Type::NUMERIC, &money), Ok(12.34));
    assert!(read::<i64>(&Type::NUMERIC, &money).is_err());
    let whole = words(&[1, 0, 0, 2, 12]);
    assert_eq!(read::<u8>(&Type::NUMERIC, &whole), Ok(12));
    assert_eq!(read::<i128>(&Type::NUMERIC, &whole), Ok(12));
    let huge = words(&[6, 5, 0, 0, 1, 0, 0, 0, 0, 1]);
    assert_eq!(read::<u128>(&Type::NUMERIC, &huge), Ok(100_000_000_000_000_000_001));
    assert!(read::<f64>(&Type::NUMERIC, &huge).is_err());
    assert!(read::<u64>(&Type::NUMERIC, &huge).is_err());
    assert!(read::<f64>(&Type::NUMERIC, &words(&[0, 0, 0xc000, 0])).is_ok_and(f64::is_nan));
}

#[test]
fn texts_and_labels() {
    let text = sent(&Type::TEXT, &"ü");
    assert_eq!(read::<String>(&Type::TEXT, &text), Ok("ü".into()));
    assert_eq!(read::<char>(&Type::VARCHAR, &text), Ok('ü'));
    assert_eq!(read::<String>(&mood(), b"sad"), Ok("sad".into()));
    assert_eq!(read::<Mood>(&mood(), b"sad"), Ok(Mood::Sad));
    assert_eq!(read::<Mood>(&Type::TEXT, b"happy"), Ok(Mood::Happy));
    assert!(read::<Mood>(&mood(), b"glum").is_err());
    assert!(read::<i64>(&Type::TEXT, b"1").is_err());
    assert!(read::<String>(&Type::TEXT, b"\xff").is_err());
}

#[test]
fn bytes_and_uuids() {
    let bytes = [0, 255];
    assert_eq!(read::<Vec<u8>>(&Type::BYTEA, &bytes), Ok(vec![0, 255]));
    assert_eq!(read::<[u8; 2]>(&Type::BYTEA, &bytes), Ok([0, 255]));
    assert_eq!(read::<String>(&Type::BYTEA, &bytes), Ok("\\x00ff".into()));
    assert_eq!(read::<Value>(&Type::BYTEA, &bytes), Ok(json!("\\x00ff")));
    let uuid = uuid::Uuid::from_u128(7);
    assert_eq!(read::<uuid::Uuid>(&Type::UUID, uuid.as_bytes()), Ok(uuid));
    assert_eq!(read::<String>(&Type::UUID, uuid.as_bytes()), Ok(uuid.to_string()));
    assert_eq!(read::<[u8; 16]>(&Type::UUID, uuid.as_bytes()), Ok(*uuid.as_bytes()));
    assert!(read::<uuid::Uuid>(&Type::UUID, &[0; 15]).is_err());
}

#[test]
fn dates_and_times_are_iso_texts() {
    let read = |ty: &Type, bytes: &[u8]| read::<String>(ty, bytes).unwrap();
    assert_eq!(read(&Type::DATE, &59i32.to_be_bytes()), "2000-02-29");
    assert_eq!(read(&Type::TIMESTAMP, &1i64.to_be_bytes()), "2000-01-01T00:00:00.000001");
    assert_eq!(read(&Type::TIMESTAMPTZ, &0i64.to_be_bytes()), "2000-01-01T00:00:00+00:00");
    assert_eq!(read(&Type::TIME, &1_500_000i64.to_be_bytes()), "00:00:01.5");
    assert_eq!(read(&Type::TIMETZ, &[&[0; 8][..], &(-3600i32).to_be_bytes()].concat()), "00:00:00+01:00");
    let interval = [&1i64.to_be_bytes()[..], &2i32.to_be_bytes(), &13i32.to_be_bytes()].concat();
    assert_eq!(read(&Type::INTERVAL, &interval), "P1Y1M2DT0.000001S");
}

#[test]
fn documents_are_read_by_serde_json() {
    #[derive(Deserialize, Debug, PartialEq)]
    struct Point {
        x: u64,
        y: Option<String>,
    }
    assert_eq!(read(&Type::JSONB, b"\x01{\"x\":18446744073709551615}"), Ok(Point { x: u64::MAX, y: None }));
    assert_eq!(read::<Value>(&Type::JSON, b"[1,null]"), Ok(json!([1, null])));
    assert_eq!(read::<Option<Value>>(&Type::JSON, b"null"), Ok(None));
    assert_eq!(read::<Vec<u8>>(&Type::JSON, b"[1,2]"), Ok(vec![1, 2]));
    let raw = read::<Box<RawValue>>(&Type::JSONB, b"\x01{\"x\": 1e999}").unwrap();
    assert_eq!(raw.get(), "{\"x\": 1e999}");
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    assert!(read::<Value>(&Type::JSON, deep.as_bytes()).is_err());
    assert!(read::<Value>(&Type::JSONB, b"\x02{}").is_err());
}

#[test]
fn arrays_of_every_shape() {
    let ty = Type::INT4_ARRAY;
    let list = sent(&ty, &vec![Some(1i32), None]);
    assert_eq!(read::<Vec<Option<u8>>>(&ty, &list), Ok(vec![Some(1), None]));
    assert_eq!(read::<(i64, Option<i64>)>(&ty, &list), Ok((1, None)));
    assert_eq!(read::<Value>(&ty, &list), Ok(json!([1, null])));
    assert_eq!(read::<Vec<i32>>(&ty, &sent(&ty, &Vec::<i32>::new())), Ok(vec![]));
    assert!(read::<Vec<i32>>(&ty, &list).is_err());
    let header = [2i32, 0, 23, 2, 1, 2, 1].map(i32::to_be_bytes).concat();
    let elements = [1i32, 2, 3, 4].map(i32::to_be_bytes);
    let matrix = [header, values(&elements.each_ref().map(|element| Some(&element[..])))].concat();
    assert_eq!(read::<Vec<Vec<i32>>>(&ty, &matrix), Ok(vec![vec![1, 2], vec![3, 4]]));
    for end in 0..matrix.len() {
        assert!(read::<Value>(&ty, &matrix[..end]).is_err(), "cut at {end}");
    }
    let endless = [1i32, 0, 23, i32::MAX, 1].map(i32::to_be_bytes).concat();
    assert!(read::<Value>(&ty, &endless).is_err());
}

#[test]
fn composites_are_structs_maps_or_tuples() {
    #[derive(Deserialize, Debug, PartialEq)]
    struct Pair {
        b: Option<Vec<u8>>,
        n: i32,
    }
    let field = |oid: u32, value: Option<&[u8]>| [oid.to_be_bytes().to_vec(), values(&[value])].concat();
    let bytes = [2i32.to_be_bytes().to_vec(), field(23, Some(&7i32.to_be_bytes())), field(17, None)].concat();
    assert_eq!(read(&pair(), &bytes), Ok(Pair { b: None, n: 7 }));
    assert_eq!(read::<(i32, Option<String>)>(&pair(), &bytes), Ok((7, None)));
    assert_eq!(read::<BTreeMap<String, Value>>(&pair(), &bytes).unwrap()["n"], json!(7));
    assert_eq!(read::<Value>(&pair(), &bytes), Ok(json!({"n": 7, "b": null})));
    assert!(read::<Value>(&pair(), &bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn null_is_none() {
    assert_eq!(Option::<i32>::deserialize(Cell::Null), Ok(None));
    assert_eq!(Value::deserialize(Cell::Null), Ok(Value::Null));
    assert_eq!(<()>::deserialize(Cell::Null), Ok(()));
    assert!(i32::deserialize(Cell::Null).is_err());
}

#[test]
fn an_error_names_column_type_and_wish() {
    let error = read::<u8>(&Type::TEXT, b"x").unwrap_err().at("age", &Type::TEXT).at("outer", &Type::JSON);
    assert_eq!(error.to_string(), "column \"age\" (text): invalid type: string \"x\", expected u8");
}
