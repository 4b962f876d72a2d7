//! Many keys as parameters for `unnest($1::T[], $2::U[])`: one array per column.

use super::column::{check_count, each};
use super::{Key, KeyColumn, KeyMismatch, KeyPart};
use bytes::{BufMut, BytesMut};
use postgres_types::{IsNull, Kind, ToSql, Type, to_sql_checked};
use std::error::Error;

/// One column of many keys, in the binary form of an array of the column's type.
#[derive(Clone, Debug)]
pub(crate) struct KeyArray {
    count: i32,
    /// Every element's length and bytes.
    elements: BytesMut,
}

/// One array for each column of the key, in the order of the keys.
///
/// # Errors
/// [`KeyMismatch`] when a key does not go with the columns or cannot exist in them: ask [`super::fits`] first.
pub(crate) fn arrays<K: Key>(keys: &[K], columns: &[KeyColumn]) -> Result<Vec<KeyArray>, KeyMismatch> {
    check_count::<K>(columns)?;
    let empty = KeyArray { count: 0, elements: BytesMut::with_capacity(12 * keys.len()) };
    let mut arrays = vec![empty; columns.len()];
    let mut failed = None;
    for key in keys {
        each(key, columns, |place, column, part| {
            if let Err(mismatch) = arrays[place].push(column, part) {
                failed.get_or_insert(mismatch);
            }
        });
    }
    failed.map_or(Ok(arrays), Err)
}

impl KeyArray {
    fn push(&mut self, column: &KeyColumn, part: KeyPart<'_>) -> Result<(), KeyMismatch> {
        if !column.holds(part)? {
            return Err(KeyMismatch::Range { column: column.name.clone(), sql_type: column.sql_type.clone() });
        }
        self.count += 1;
        match part {
            KeyPart::Int(int) => {
                let bytes = int.to_be_bytes();
                self.element(&bytes[bytes.len() - column.int_width()..]);
            }
            KeyPart::Text(text) => self.element(text.as_bytes()),
            KeyPart::Bytes(bytes) => self.element(bytes),
            KeyPart::Uuid(uuid) => self.element(&uuid),
            KeyPart::Bool(bool) => self.element(&[u8::from(bool)]),
            KeyPart::Date(days) => self.element(&days.to_be_bytes()),
            KeyPart::Timestamp(micros) => self.element(&micros.to_be_bytes()),
            // No column holds it.
            KeyPart::Outside(_) => {}
        }
        Ok(())
    }

    fn element(&mut self, bytes: &[u8]) {
        self.elements.put_i32(bytes.len() as i32);
        self.elements.put_slice(bytes);
    }
}

impl ToSql for KeyArray {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Kind::Array(element) = ty.kind() else { return Err(format!("keys go into an array, not {ty}").into()) };
        let dimensions = i32::from(self.count > 0);
        out.put_i32(dimensions);
        out.put_i32(0);
        out.put_u32(element.oid());
        if dimensions > 0 {
            out.put_i32(self.count);
            out.put_i32(1);
        }
        out.put_slice(&self.elements);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::super::{fits, write_members};
    use super::*;
    use crate::codec::key::column::KeyKind;
    use postgres_types::FromSql;

    fn column(name: &str, kind: KeyKind, ty: &Type) -> KeyColumn {
        KeyColumn { name: name.into(), sql_type: format!("pg_catalog.{ty}"), kind, type_oid: ty.oid(), modifier: -1 }
    }

    fn read<'a, T: FromSql<'a>>(array: &KeyArray, ty: &Type, out: &'a mut BytesMut) -> Vec<T> {
        assert!(matches!(array.to_sql_checked(ty, out), Ok(IsNull::No)));
        Vec::from_sql(ty, out).unwrap()
    }

    #[test]
    fn each_column_becomes_an_array_of_its_type() {
        let columns = [
            column("a", KeyKind::Int, &Type::INT2),
            column("b", KeyKind::Int, &Type::INT4),
            column("c", KeyKind::Int, &Type::INT8),
            column("d", KeyKind::Text, &Type::TEXT),
        ];
        let keys = [(1i64, -2i64, i64::MIN, "x".to_owned()), (i64::from(i16::MAX), 0, 5, String::new())];
        let arrays = arrays(&keys, &columns).unwrap();
        assert_eq!(read::<i16>(&arrays[0], &Type::INT2_ARRAY, &mut BytesMut::new()), [1, i16::MAX]);
        assert_eq!(read::<i32>(&arrays[1], &Type::INT4_ARRAY, &mut BytesMut::new()), [-2, 0]);
        assert_eq!(read::<i64>(&arrays[2], &Type::INT8_ARRAY, &mut BytesMut::new()), [i64::MIN, 5]);
        assert_eq!(read::<String>(&arrays[3], &Type::TEXT_ARRAY, &mut BytesMut::new()), ["x", ""]);
    }

    #[test]
    fn no_keys_are_an_empty_array() {
        let arrays = arrays::<bool>(&[], &[column("a", KeyKind::Bool, &Type::BOOL)]).unwrap();
        assert!(read::<bool>(&arrays[0], &Type::BOOL_ARRAY, &mut BytesMut::new()).is_empty());
    }

    /// Postgres would make another key of it, under which nobody hears of it.
    #[test]
    fn what_a_precision_or_a_length_changes_is_no_rows() {
        let column = |kind, ty: &Type, modifier| KeyColumn { modifier, ..column("k", kind, ty) };
        let micros = |modifier, micros| {
            column(KeyKind::Timestamp, &Type::TIMESTAMPTZ, modifier).holds(KeyPart::Timestamp(micros)).unwrap()
        };
        assert_eq!([-1, 6, 3, 0].map(|precision| micros(precision, 1_500_000)), [true, true, true, false]);
        assert_eq!([-1, 6, 3, 0].map(|precision| micros(precision, -1)), [true, true, false, false]);
        assert_eq!([i64::MAX, i64::MIN, 2_000_000].map(|time| micros(0, time)), [true; 3]);
        let text = |modifier, text| column(KeyKind::Text, &Type::VARCHAR, modifier).holds(KeyPart::Text(text)).unwrap();
        // What is too long otherwise is an error of Postgres' own.
        assert_eq!(["ab", "ab ", "äb  ", "abc", "a"].map(|key| text(6, key)), [true, false, false, true, true]);
        assert!(text(-1, "ab  "));
    }

    #[test]
    fn what_no_row_can_have_is_told_before_it_is_sent() {
        let int2 = [column("a", KeyKind::Int, &Type::INT2)];
        assert_eq!((fits(&40_000i64, &int2), fits(&-4i64, &int2)), (Ok(false), Ok(true)));
        assert!(matches!(arrays(&[40_000i64], &int2), Err(KeyMismatch::Range { .. })));
        let text = [column("a", KeyKind::Text, &Type::TEXT)];
        assert_eq!(fits(&"a\0".to_owned(), &text), Ok(false));
        assert!(matches!(fits(&1i64, &text), Err(KeyMismatch::Kind { .. })));
        assert!(matches!(fits(&(1i64, 2i64), &text), Err(KeyMismatch::Columns { .. })));
        assert!(fits(&uuid::Uuid::nil().to_string(), &[column("a", KeyKind::Uuid, &Type::UUID)]).is_err());
    }

    #[test]
    fn members_are_json() {
        let columns = [column("i\"d", KeyKind::Int, &Type::INT8), column("b", KeyKind::Bytes, &Type::BYTEA)];
        let mut out = String::new();
        write_members(&(7i64, vec![1u8, 255]), &columns, &mut out);
        assert_eq!(out, r#""i\"d":7,"b":"\\x01ff""#);
    }

    #[test]
    fn parameters_are_of_base_types() {
        let described = r#"[{"name":"a","type":99999,"type_name":"public.positive","kind":"int"},
            {"name":"b","type":1043,"type_name":"pg_catalog.varchar","kind":"text"},
            {"name":"c","type":99998,"type_name":"public.mood","kind":"enum"}]"#;
        let columns: Vec<KeyColumn> = serde_json::from_str(described).unwrap();
        let types: Vec<_> = columns.iter().map(|column| column.sql_type.as_str()).collect();
        assert_eq!(types, ["pg_catalog.int8", "pg_catalog.text", "public.mood"]);
        assert_eq!("enum".parse(), Ok(KeyKind::Enum));
        assert!("numeric".parse::<KeyKind>().is_err());
    }
}
