//! What identifies a row: any Rust type that can name the values of its table's primary key.
//!
//! ```text
//! column    the columns of a primary key, and how a key is told to them      array   many keys as parameters
//! look_up   what a key may be looked up by                                   times   dates and times as keys
//! ```

mod array;
mod column;
mod look_up;
#[cfg(any(feature = "chrono", feature = "jiff", feature = "time"))]
mod times;

pub(crate) use array::{KeyArray, arrays};
pub(crate) use column::{KeyColumn, KeyMismatch, check, fits, write_members};
pub use look_up::LookUp;
pub(crate) use look_up::key_hash;

use super::type_name;
pub use cache_sync_core::key::KeyPart;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

/// A type that identifies a row of a table by its primary key.
///
/// | in Rust | the key's column |
/// | --- | --- |
/// | `i8` to `i64`, `u8` to `u64` | `smallint`, `integer`, `bigint`, and domains over them |
/// | `String`, `Box<str>`, `Arc<str>` | `text`, `varchar`, enums |
/// | `Vec<u8>`, `Box<[u8]>`, `Arc<[u8]>`, `[u8; N]` | `bytea` |
/// | `uuid::Uuid` | `uuid` |
/// | `bool` | `boolean` |
/// | `chrono::NaiveDate`, `time::Date`, `jiff::civil::Date`, by the feature of the crate's name | `date` |
/// | `chrono::DateTime<Utc>`, `time::OffsetDateTime`, `jiff::Timestamp`, in the same way | `timestamptz`; `timestamp`, which is taken for UTC |
/// | tuples of up to 8 of them | keys of several columns, in the primary key's order |
///
/// What no row can have (a `u64` beyond `bigint`, a time between two microseconds) is absent without asking, and cannot be written. A type
/// of your own passes on what it wraps: `#[derive(Key)]`, or by hand
///
/// ```
/// use cache_sync::{Key, KeyColumnType, KeyVisitor};
///
/// #[derive(Clone, PartialEq, Eq, Hash, Debug)]
/// struct UserId(i64);
///
/// impl Key for UserId {
///     const COLUMNS: usize = 1;
///
///     fn parts<V: KeyVisitor>(&self, visitor: &mut V) {
///         self.0.parts(visitor);
///     }
///
///     fn column_types() -> Vec<KeyColumnType> {
///         i64::column_types()
///     }
/// }
/// ```
/// Two keys that are equal must have the same parts, and two that are not must not.
pub trait Key: Clone + Eq + Hash + Debug + Send + Sync + 'static {
    /// How many columns the key has.
    const COLUMNS: usize;

    /// Shows the visitor the key's columns, in the order of the primary key.
    fn parts<V: KeyVisitor>(&self, visitor: &mut V);

    /// What each column holds, for [`open`](crate::CacheBuilder::open) to compare with the table. Empty (the default): it does not say, and
    /// a key that does not go with its table is an error of each call.
    fn column_types() -> Vec<KeyColumnType> {
        Vec::new()
    }
}

/// What a column of a key type holds.
#[derive(Clone, Debug)]
pub struct KeyColumnType {
    rust: String,
    sample: KeyPart<'static>,
}

impl KeyColumnType {
    /// A column that is a `T`, which shows such parts as this one: which value it has says nothing.
    pub fn new<T: ?Sized>(sample: KeyPart<'static>) -> KeyColumnType {
        KeyColumnType { rust: type_name::of::<T>(), sample }
    }
}

/// Takes the columns of a key, one after the other.
pub trait KeyVisitor {
    /// Takes the next column.
    fn part(&mut self, part: KeyPart<'_>);
}

/// How many bytes the key's texts have.
pub(crate) fn size<K: Key>(key: &K) -> usize {
    struct Counting(usize);

    impl KeyVisitor for Counting {
        fn part(&mut self, part: KeyPart<'_>) {
            self.0 += match part {
                KeyPart::Text(text) => text.len(),
                KeyPart::Bytes(bytes) => bytes.len(),
                _ => 0,
            };
        }
    }

    let mut counting = Counting(0);
    key.parts(&mut counting);
    counting.0
}

macro_rules! one_column {
    ($($(#[$condition:meta])? $key:ty: |$value:ident| $part:expr, as $sample:expr;)*) => {$(
        $(#[$condition])?
        impl Key for $key {
            const COLUMNS: usize = 1;

            #[inline]
            fn parts<V: KeyVisitor>(&self, visitor: &mut V) {
                let $value = self;
                visitor.part($part);
            }

            fn column_types() -> Vec<KeyColumnType> {
                vec![KeyColumnType::new::<$key>($sample)]
            }
        }
    )*};
}

#[cfg(any(feature = "chrono", feature = "jiff", feature = "time"))]
use one_column;

const INT: KeyPart<'static> = KeyPart::Int(0);
const TEXT: KeyPart<'static> = KeyPart::Text("");
const BYTES: KeyPart<'static> = KeyPart::Bytes(&[]);

one_column! {
    i8: |int| KeyPart::Int(i64::from(*int)), as INT;
    i16: |int| KeyPart::Int(i64::from(*int)), as INT;
    i32: |int| KeyPart::Int(i64::from(*int)), as INT;
    i64: |int| KeyPart::Int(*int), as INT;
    u8: |int| KeyPart::Int(i64::from(*int)), as INT;
    u16: |int| KeyPart::Int(i64::from(*int)), as INT;
    u32: |int| KeyPart::Int(i64::from(*int)), as INT;
    u64: |int| i64::try_from(*int).map_or(KeyPart::Outside(i128::from(*int)), KeyPart::Int), as INT;
    bool: |bool| KeyPart::Bool(*bool), as KeyPart::Bool(false);
    String: |text| KeyPart::Text(text), as TEXT;
    Box<str>: |text| KeyPart::Text(text), as TEXT;
    Arc<str>: |text| KeyPart::Text(text), as TEXT;
    Vec<u8>: |bytes| KeyPart::Bytes(bytes), as BYTES;
    Box<[u8]>: |bytes| KeyPart::Bytes(bytes), as BYTES;
    Arc<[u8]>: |bytes| KeyPart::Bytes(bytes), as BYTES;
    uuid::Uuid: |uuid| KeyPart::Uuid(*uuid.as_bytes()), as KeyPart::Uuid([0; 16]);
}

impl<const N: usize> Key for [u8; N] {
    const COLUMNS: usize = 1;

    #[inline]
    fn parts<V: KeyVisitor>(&self, visitor: &mut V) {
        visitor.part(KeyPart::Bytes(self));
    }

    fn column_types() -> Vec<KeyColumnType> {
        vec![KeyColumnType::new::<[u8; N]>(BYTES)]
    }
}

macro_rules! tuple {
    ($($key:ident $place:tt),*) => {
        impl<$($key: Key),*> Key for ($($key,)*) {
            const COLUMNS: usize = 0 $(+ $key::COLUMNS)*;

            #[inline]
            fn parts<V: KeyVisitor>(&self, visitor: &mut V) {
                $(self.$place.parts(visitor);)*
            }

            fn column_types() -> Vec<KeyColumnType> {
                let parts = [$(($key::COLUMNS, $key::column_types())),*];
                // One that does not say leaves nobody knowing whose column is whose.
                if parts.iter().any(|(columns, types)| types.len() != *columns) {
                    return Vec::new();
                }
                parts.into_iter().flat_map(|(_, types)| types).collect()
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

#[cfg(test)]
mod tests {
    use super::*;
    use cache_sync_core::key::{HashKey, KeyHasher};
    use cache_sync_core::number::KeyHash;

    const SECRET: HashKey = HashKey([3; 16]);

    fn hash<K: Key>(key: &K) -> KeyHash {
        key_hash::<K, K>(&SECRET, key)
    }

    #[test]
    fn the_hash_is_that_of_the_parts() {
        let mut hasher = KeyHasher::new(&SECRET);
        hasher.part(KeyPart::Int(7));
        hasher.part(KeyPart::Text("a"));
        hasher.part(KeyPart::Bool(true));
        assert_eq!(hash(&(7i16, ("a".to_owned(), true))), hasher.finish());
        assert_eq!(<(i16, (String, bool))>::COLUMNS, 3);
    }

    #[test]
    fn the_width_of_an_integer_is_not_part_of_its_hash() {
        assert_eq!(hash(&7u32), hash(&7i64));
        assert_ne!(hash(&7i64), hash(&(7i64, 7i64)));
    }

    /// A key has one hash, by whatever it is looked up.
    #[test]
    fn what_is_borrowed_has_the_hash_of_what_is_owned() {
        assert_eq!(key_hash::<String, str>(&SECRET, "a"), hash(&"a".to_owned()));
        assert_eq!(key_hash::<Arc<[u8]>, [u8]>(&SECRET, &[1, 2]), hash(&[1u8, 2]));
        assert_ne!(key_hash::<Vec<u8>, [u8]>(&SECRET, b"a"), key_hash::<String, str>(&SECRET, "a"));
    }

    #[test]
    fn what_no_row_has_is_told_apart() {
        assert_eq!(hash(&7u64), hash(&7i64));
        let outside = [hash(&u64::MAX), hash(&(u64::MAX - 1)), hash(&-1i64), hash(&i64::MAX)];
        assert_eq!(std::collections::BTreeSet::from(outside).len(), 4);
    }
}
