//! The value of a tag, as the database hashes it.

use crate::codec::layout::TagKind;
use bytes::BytesMut;
use cache_sync_core::key::{HashKey, KeyHasher, KeyPart};
use cache_sync_core::number::KeyHash;
use postgres_types::{IsNull, Kind, ToSql, Type, to_sql_checked};
use std::error::Error;

/// A value in a column on which queries depend (`attach(..., tags => ...)`). Made from integers, `bool`, texts, bytes and
/// [`Uuid`](uuid::Uuid)s, from options of them (`None` is SQL's null), and from [`TagValue::Row`] for composites.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TagValue {
    /// SQL's null.
    Null,
    /// smallint, integer, bigint
    Int(i64),
    /// text, varchar, and enums by their label
    Text(String),
    /// bytea
    Bytes(Vec<u8>),
    /// uuid
    Uuid([u8; 16]),
    /// boolean
    Bool(bool),
    /// date: days since 2000-01-01
    Date(i32),
    /// timestamp, timestamptz: microseconds since 2000-01-01
    Timestamp(i64),
    /// A composite: its attributes, in their order.
    Row(Vec<TagValue>),
}

impl TagValue {
    /// The hash that the feed tells, for the tag in this place of its table's list, from 0.
    pub(super) fn hash(&self, key: &HashKey, place: usize) -> KeyHash {
        let mut hasher = KeyHasher::of_tag(key, place + 1);
        self.give(&mut hasher);
        hasher.finish()
    }

    /// The hash that the feed tells of a key with these columns.
    pub(super) fn hash_of_key(key: &HashKey, columns: &[TagValue]) -> KeyHash {
        let mut hasher = KeyHasher::new(key);
        columns.iter().for_each(|column| column.give(&mut hasher));
        hasher.finish()
    }

    /// Whether a column of this kind can hold the value: no other is ever told.
    pub(super) fn is_of(&self, kind: &TagKind) -> bool {
        let word = match (self, kind) {
            (TagValue::Null, _) => return true,
            (TagValue::Row(parts), TagKind::Row(kinds)) => {
                return parts.len() == kinds.len() && parts.iter().zip(kinds).all(|(part, kind)| part.is_of(kind));
            }
            (_, TagKind::Row(_)) => return false,
            (_, TagKind::Plain(word)) => &**word,
        };
        match self {
            TagValue::Null | TagValue::Row(_) => false,
            TagValue::Int(_) => word == "int",
            TagValue::Text(_) => word == "text" || word == "enum",
            TagValue::Bytes(_) => word == "bytes",
            TagValue::Uuid(_) => word == "uuid",
            TagValue::Bool(_) => word == "bool",
            TagValue::Date(_) => word == "date",
            TagValue::Timestamp(_) => word == "timestamp",
        }
    }

    /// Whether it can be a parameter of a statement: composites cannot.
    pub(super) fn is_parameter(&self) -> bool {
        !matches!(self, TagValue::Row(_))
    }

    fn give(&self, hasher: &mut KeyHasher) {
        hasher.part(match self {
            TagValue::Null => return hasher.null(),
            TagValue::Row(parts) => {
                hasher.row(parts.len());
                return parts.iter().for_each(|part| part.give(hasher));
            }
            TagValue::Int(int) => KeyPart::Int(*int),
            TagValue::Text(text) => KeyPart::Text(text),
            TagValue::Bytes(bytes) => KeyPart::Bytes(bytes),
            TagValue::Uuid(uuid) => KeyPart::Uuid(*uuid),
            TagValue::Bool(bool) => KeyPart::Bool(*bool),
            TagValue::Date(days) => KeyPart::Date(*days),
            TagValue::Timestamp(micros) => KeyPart::Timestamp(*micros),
        });
    }
}

/// As a parameter that is compared with the tag's column, in the column's type.
impl ToSql for TagValue {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, ty.kind()) {
            (TagValue::Null, _) => Ok(IsNull::Yes),
            (_, Kind::Domain(inner)) => self.to_sql(inner, out),
            (TagValue::Int(int), _) if *ty == Type::INT2 => i16::try_from(*int)?.to_sql(ty, out),
            (TagValue::Int(int), _) if *ty == Type::INT4 => i32::try_from(*int)?.to_sql(ty, out),
            (TagValue::Int(int), _) => int.to_sql(ty, out),
            (TagValue::Text(text), _) => text.as_bytes().to_sql(ty, out),
            (TagValue::Bytes(bytes), _) => bytes.to_sql(ty, out),
            (TagValue::Uuid(uuid), _) => uuid::Uuid::from_bytes(*uuid).to_sql(ty, out),
            (TagValue::Bool(bool), _) => bool.to_sql(ty, out),
            (TagValue::Date(days), _) => days.to_sql(ty, out),
            (TagValue::Timestamp(micros), _) => micros.to_sql(ty, out),
            (TagValue::Row(_), _) => Err("a composite is no parameter".into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

macro_rules! from {
    ($($from:ty: |$value:ident| $tag:expr;)*) => {$(
        impl From<$from> for TagValue {
            fn from($value: $from) -> TagValue {
                $tag
            }
        }
    )*};
}

from! {
    i8: |int| TagValue::Int(int.into());
    i16: |int| TagValue::Int(int.into());
    i32: |int| TagValue::Int(int.into());
    i64: |int| TagValue::Int(int);
    u8: |int| TagValue::Int(int.into());
    u16: |int| TagValue::Int(int.into());
    u32: |int| TagValue::Int(int.into());
    bool: |bool| TagValue::Bool(bool);
    &str: |text| TagValue::Text(text.to_owned());
    String: |text| TagValue::Text(text);
    &[u8]: |bytes| TagValue::Bytes(bytes.to_owned());
    Vec<u8>: |bytes| TagValue::Bytes(bytes);
    uuid::Uuid: |uuid| TagValue::Uuid(uuid.into_bytes());
}

impl<T: Into<TagValue>> From<Option<T>> for TagValue {
    fn from(value: Option<T>) -> TagValue {
        value.map_or(TagValue::Null, Into::into)
    }
}
