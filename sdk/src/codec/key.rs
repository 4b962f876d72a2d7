//! What identifies a row: any Rust type that can name the values of its table's primary key.

mod array;
mod column;

pub(crate) use array::{KeyArray, arrays};
pub(crate) use column::{KeyColumn, KeyMismatch, check, fits, write_members};

pub use cache_sync_core::key::KeyPart;
use cache_sync_core::key::{HashKey, KeyHasher};
use cache_sync_core::number::KeyHash;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

/// A type that identifies a row of a table by its primary key.
///
/// Integers, `bool`, `String`, `Vec<u8>` and `Uuid` are keys of one column, tuples of them keys of several, in the
/// primary key's order. A type of your own passes on what it wraps:
///
/// ```
/// use cache_sync::{Key, KeyVisitor};
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
/// }
/// ```
/// Two keys that are equal must have the same parts, and two that are not must not.
pub trait Key: Clone + Eq + Hash + Debug + Send + Sync + 'static {
    /// How many columns the key has.
    const COLUMNS: usize;

    /// Shows the visitor the key's columns, in the order of the primary key.
    fn parts<V: KeyVisitor>(&self, visitor: &mut V);
}

/// Takes the columns of a key, one after the other.
pub trait KeyVisitor {
    /// Takes the next column.
    fn part(&mut self, part: KeyPart<'_>);
}

/// The key's hash, as the database makes it too.
#[inline]
pub(crate) fn key_hash<K: Key>(hash_key: &HashKey, key: &K) -> KeyHash {
    struct Hashing(KeyHasher);

    impl KeyVisitor for Hashing {
        #[inline]
        fn part(&mut self, part: KeyPart<'_>) {
            self.0.part(part);
        }
    }

    let mut hashing = Hashing(KeyHasher::new(hash_key));
    key.parts(&mut hashing);
    hashing.0.finish()
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
    ($($key:ty: |$value:ident| $part:expr;)*) => {$(
        impl Key for $key {
            const COLUMNS: usize = 1;

            #[inline]
            fn parts<V: KeyVisitor>(&self, visitor: &mut V) {
                let $value = self;
                visitor.part($part);
            }
        }
    )*};
}

one_column! {
    i8: |int| KeyPart::Int(i64::from(*int));
    i16: |int| KeyPart::Int(i64::from(*int));
    i32: |int| KeyPart::Int(i64::from(*int));
    i64: |int| KeyPart::Int(*int);
    u8: |int| KeyPart::Int(i64::from(*int));
    u16: |int| KeyPart::Int(i64::from(*int));
    u32: |int| KeyPart::Int(i64::from(*int));
    bool: |bool| KeyPart::Bool(*bool);
    String: |text| KeyPart::Text(text);
    Box<str>: |text| KeyPart::Text(text);
    Arc<str>: |text| KeyPart::Text(text);
    Vec<u8>: |bytes| KeyPart::Bytes(bytes);
    Box<[u8]>: |bytes| KeyPart::Bytes(bytes);
    Arc<[u8]>: |bytes| KeyPart::Bytes(bytes);
    uuid::Uuid: |uuid| KeyPart::Uuid(*uuid.as_bytes());
}

macro_rules! tuple {
    ($($key:ident $place:tt),*) => {
        impl<$($key: Key),*> Key for ($($key,)*) {
            const COLUMNS: usize = 0 $(+ $key::COLUMNS)*;

            #[inline]
            fn parts<V: KeyVisitor>(&self, visitor: &mut V) {
                $(self.$place.parts(visitor);)*
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_parts() {
        let secret = HashKey([3; 16]);
        let mut hasher = KeyHasher::new(&secret);
        hasher.part(KeyPart::Int(7));
        hasher.part(KeyPart::Text("a"));
        hasher.part(KeyPart::Bool(true));
        assert_eq!(key_hash(&secret, &(7i16, ("a".to_owned(), true))), hasher.finish());
        assert_eq!(<(i16, (String, bool))>::COLUMNS, 3);
    }

    #[test]
    fn the_width_of_an_integer_is_not_part_of_its_hash() {
        let secret = HashKey([3; 16]);
        assert_eq!(key_hash(&secret, &7u32), key_hash(&secret, &7i64));
        assert_ne!(key_hash(&secret, &7i64), key_hash(&secret, &(7i64, 7i64)));
    }
}
