//! The columns of a table's primary key, and how a key is told to them.

use super::{Key, KeyColumnType, KeyPart, KeyVisitor};
use crate::codec::text;
use serde::Deserialize;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What a key's column holds, whatever its exact type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyKind {
    /// int2, int4, int8
    Int,
    /// text, varchar
    Text,
    /// an enum, told by its label
    Enum,
    /// bytea
    Bytes,
    /// uuid
    Uuid,
    /// bool
    Bool,
    /// date
    Date,
    /// timestamp, timestamptz
    Timestamp,
}

impl KeyKind {
    /// The Rust types that go with it.
    fn holders(self) -> &'static str {
        match self {
            KeyKind::Int => "an `i64` or another integer",
            KeyKind::Text => "a `String`",
            KeyKind::Enum => "a `String` with the label",
            KeyKind::Bytes => "a `Vec<u8>`",
            KeyKind::Uuid => "a `uuid::Uuid`",
            KeyKind::Bool => "a `bool`",
            KeyKind::Date => "a date of chrono, time or jiff, by the feature of that name",
            KeyKind::Timestamp => {
                "a `chrono::DateTime<Utc>`, `time::OffsetDateTime` or `jiff::Timestamp`, by the feature of that name"
            }
        }
    }
}

/// One column of a table's primary key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Described")]
pub(crate) struct KeyColumn {
    /// Its name, not quoted.
    pub(crate) name: String,
    /// The type for parameters that are compared with it, quoted and with its schema.
    pub(crate) sql_type: String,
    /// What it holds.
    pub(crate) kind: KeyKind,
    /// Its type's oid.
    pub(crate) type_oid: u32,
    /// What its type was declared with, as Postgres keeps it: the precision of a time, four more than the length of a text; -1 if nothing.
    pub(crate) modifier: i32,
}

/// A key that does not go with its table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyMismatch {
    /// Another number of columns.
    #[error("the key type has {given} columns, but the table's primary key is ({columns})")]
    Columns {
        /// How many the type has.
        given: usize,
        /// The primary key's columns.
        columns: String,
    },
    /// A value of another kind than its column's.
    #[error("the key's column \"{column}\" is of type {sql_type}, but the key type gives {given}")]
    Kind {
        /// The column.
        column: String,
        /// Its type.
        sql_type: String,
        /// What the key type gives.
        given: &'static str,
    },
    /// A type whose values are of another kind than the column's.
    #[error("the key's column \"{column}\" ({sql_type}) cannot be a {rust}: make it {holders}")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        sql_type: String,
        /// What the key type has for it.
        rust: String,
        /// The types that go with it.
        holders: &'static str,
    },
    /// A value that no row can have.
    #[error("the key's column \"{column}\" cannot hold the given value: its type is {sql_type}")]
    Range {
        /// The column.
        column: String,
        /// Its type.
        sql_type: String,
    },
}

/// Whether keys of this type have as many columns as the table's.
///
/// # Errors
/// [`KeyMismatch::Columns`] when they have not.
pub(crate) fn check_count<K: Key>(columns: &[KeyColumn]) -> Result<(), KeyMismatch> {
    same_count(K::COLUMNS, columns)
}

/// Whether keys of this type go with the table's, as far as the type tells.
///
/// # Errors
/// [`KeyMismatch::Columns`] when they have another number of columns, [`KeyMismatch::Type`] when one of them holds something else.
pub(crate) fn check<K: Key>(columns: &[KeyColumn]) -> Result<(), KeyMismatch> {
    check_count::<K>(columns)?;
    for (column, KeyColumnType { rust, sample }) in columns.iter().zip(K::column_types()) {
        if let Err(KeyMismatch::Kind { column: name, sql_type, .. }) = column.holds(sample) {
            return Err(KeyMismatch::Type { column: name, sql_type, rust, holders: column.kind.holders() });
        }
    }
    Ok(())
}

/// Whether a row can have this key: an integer must fit its column's width, and no text holds U+0000.
///
/// # Errors
/// [`KeyMismatch`] when the key's values are not of their columns' kinds.
pub(crate) fn fits<K: Key>(key: &K, columns: &[KeyColumn]) -> Result<bool, KeyMismatch> {
    let mut fits = Ok(true);
    let count = each(key, columns, |_, column, part| {
        if let Ok(so_far) = fits {
            fits = column.holds(part).map(|holds| so_far && holds);
        }
    });
    same_count(count, columns)?;
    fits
}

/// Appends the key's columns as JSON members (`"id":42,"day":"2024-01-31"`), as `apply` takes them.
pub(crate) fn write_members<K: Key>(key: &K, columns: &[KeyColumn], out: &mut String) {
    each(key, columns, |place, column, part| {
        if place > 0 {
            out.push(',');
        }
        text::push_json_string(out, &column.name);
        out.push(':');
        match part {
            KeyPart::Int(int) => text::push_integer(out, int),
            KeyPart::Text(text) => text::push_json_string(out, text),
            KeyPart::Bytes(bytes) => text::push_json_string(out, &text::hex(bytes)),
            KeyPart::Uuid(uuid) => text::push_json_string(out, &uuid::Uuid::from_bytes(uuid).to_string()),
            KeyPart::Bool(bool) => out.push_str(if bool { "true" } else { "false" }),
            KeyPart::Date(days) => text::push_json_string(out, &text::date(days)),
            KeyPart::Outside(number) => out.push_str(&number.to_string()),
            // A timestamp without time zone ignores the zone.
            KeyPart::Timestamp(micros) => text::push_json_string(out, &text::timestamptz(micros)),
        }
    });
}

/// Shows each part with its column, and says how many parts there were.
pub(super) fn each<K: Key>(key: &K, columns: &[KeyColumn], take: impl FnMut(usize, &KeyColumn, KeyPart<'_>)) -> usize {
    struct Each<'a, F> {
        columns: &'a [KeyColumn],
        place: usize,
        take: F,
    }

    impl<F: FnMut(usize, &KeyColumn, KeyPart<'_>)> KeyVisitor for Each<'_, F> {
        fn part(&mut self, part: KeyPart<'_>) {
            if let Some(column) = self.columns.get(self.place) {
                (self.take)(self.place, column, part);
            }
            self.place += 1;
        }
    }

    let mut each = Each { columns, place: 0, take };
    key.parts(&mut each);
    each.place
}

impl KeyColumn {
    /// How many bytes the column's integers have.
    pub(super) fn int_width(&self) -> usize {
        match self.type_oid {
            oid::INT2 => 2,
            oid::INT4 => 4,
            _ => 8,
        }
    }

    /// Whether Postgres would make it another time: that of another row.
    fn is_rounded(&self, micros: i64) -> bool {
        const DIGITS: u32 = 6;
        let precision = u32::try_from(self.modifier).unwrap_or(DIGITS).min(DIGITS);
        micros % 10_i64.pow(DIGITS - precision) != 0
    }

    /// Whether Postgres would make it another text: what is too long is an error, but for spaces at the end.
    fn is_cut_short(&self, text: &str) -> bool {
        let length = usize::try_from(self.modifier - 4).unwrap_or(usize::MAX);
        let mut rest = text.chars().skip(length).peekable();
        self.kind == KeyKind::Text && rest.peek().is_some() && rest.all(|excess| excess == ' ')
    }

    /// The range of what is not one of the two infinities follows Postgres' `IS_VALID_DATE` and `IS_VALID_TIMESTAMP`.
    pub(super) fn holds(&self, part: KeyPart<'_>) -> Result<bool, KeyMismatch> {
        const DATES: RangeInclusive<i32> = -2_451_545..=2_145_031_948;
        const TIMESTAMPS: RangeInclusive<i64> = -211_813_488_000_000_000..=9_223_371_331_199_999_999;
        Ok(match (part, self.kind) {
            (KeyPart::Int(int), KeyKind::Int) => match self.int_width() {
                2 => i16::try_from(int).is_ok(),
                4 => i32::try_from(int).is_ok(),
                _ => true,
            },
            (KeyPart::Text(text), KeyKind::Text | KeyKind::Enum) => !text.contains('\0') && !self.is_cut_short(text),
            (KeyPart::Bytes(_), KeyKind::Bytes)
            | (KeyPart::Uuid(_), KeyKind::Uuid)
            | (KeyPart::Bool(_), KeyKind::Bool) => true,
            (KeyPart::Date(days), KeyKind::Date) => matches!(days, i32::MIN | i32::MAX) || DATES.contains(&days),
            (KeyPart::Timestamp(micros), KeyKind::Timestamp) => {
                matches!(micros, i64::MIN | i64::MAX) || (TIMESTAMPS.contains(&micros) && !self.is_rounded(micros))
            }
            (KeyPart::Outside(_), KeyKind::Int | KeyKind::Timestamp) => false,
            (part, _) => {
                let (column, sql_type) = (self.name.clone(), self.sql_type.clone());
                return Err(KeyMismatch::Kind { column, sql_type, given: name_of(part) });
            }
        })
    }
}

/// A key's column as `cache_sync.describe` tells it.
#[derive(Deserialize)]
struct Described {
    name: String,
    r#type: u32,
    type_name: String,
    kind: KeyKind,
    #[serde(default = "no_modifier")]
    modifier: i32,
}

fn no_modifier() -> i32 {
    -1
}

impl From<Described> for KeyColumn {
    /// Parameters are of a base type wherever one compares alike: a domain's checks would refuse the whole query for
    /// one key that cannot exist, and a `varchar(n)` would cut keys short.
    fn from(described: Described) -> KeyColumn {
        let own = described.type_name;
        let sql_type = match described.kind {
            KeyKind::Int if matches!(described.r#type, oid::INT2 | oid::INT4 | oid::INT8) => own,
            KeyKind::Int => "pg_catalog.int8".to_owned(),
            KeyKind::Text => "pg_catalog.text".to_owned(),
            KeyKind::Bytes => "pg_catalog.bytea".to_owned(),
            KeyKind::Uuid => "pg_catalog.uuid".to_owned(),
            KeyKind::Bool => "pg_catalog.bool".to_owned(),
            KeyKind::Date => "pg_catalog.date".to_owned(),
            KeyKind::Enum | KeyKind::Timestamp => own,
        };
        KeyColumn {
            name: described.name,
            sql_type,
            kind: described.kind,
            type_oid: described.r#type,
            modifier: described.modifier,
        }
    }
}

/// A word that names no kind of key column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key's column cannot be of kind \"{0}\"")]
pub(crate) struct NoSuchKind(String);

impl FromStr for KeyKind {
    type Err = NoSuchKind;

    fn from_str(word: &str) -> Result<KeyKind, NoSuchKind> {
        let known = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word);
        KeyKind::deserialize(known).map_err(|_| NoSuchKind(word.to_owned()))
    }
}

impl fmt::Display for KeyColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.sql_type)
    }
}

fn same_count(given: usize, columns: &[KeyColumn]) -> Result<(), KeyMismatch> {
    if given == columns.len() {
        return Ok(());
    }
    let columns = columns.iter().map(KeyColumn::to_string).collect::<Vec<_>>().join(", ");
    Err(KeyMismatch::Columns { given, columns })
}

fn name_of(part: KeyPart<'_>) -> &'static str {
    match part {
        KeyPart::Int(_) => "an integer",
        KeyPart::Text(_) => "a text",
        KeyPart::Bytes(_) => "bytes",
        KeyPart::Uuid(_) => "a uuid",
        KeyPart::Bool(_) => "a bool",
        KeyPart::Date(_) => "a date",
        KeyPart::Timestamp(_) => "a timestamp",
        KeyPart::Outside(_) => "a number that no column holds",
    }
}

mod oid {
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const INT8: u32 = 20;
}
