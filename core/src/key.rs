//! The canonical form of a key and its keyed hash.
//!
//! Both sides hash a key's columns in the order of the primary key. Each part is a tag byte and its bytes: integers of
//! every width as 8 bytes big-endian, so that an application's type need not have the column's width; text (also enum
//! labels), and byte strings with their length (4 bytes) ahead; uuid as 16 bytes; bool as one; date as the days,
//! timestamps as the microseconds since 2000-01-01 that Postgres sends, as 8 bytes.
//!
//! The value of a tag is hashed alike, behind the tag's place in the table's list (an integer, from 1): it may also be null,
//! which is a tag byte alone, or a composite, which is the number of its parts (4 bytes) and then these.

use crate::number::{KeyHash, TableId};
use serde::{Deserialize, Serialize};
use siphasher::sip::{SipHasher13, SipHasher24};
use std::hash::Hasher;

/// A secret, so that nobody who hears hashes can tell keys by trying them: the database's, from which each table's own is made.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashKey(pub [u8; 16]);

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

impl HashKey {
    /// The secret of a table, made of the database's: SipHash-2-4 of the table's number (4 bytes, big-endian) and 0, and of
    /// the number and 1. Who knows one table's learns nothing of another's.
    #[must_use]
    pub fn of_table(&self, table: TableId) -> HashKey {
        self.derived(&table.0.to_be_bytes())
    }

    /// The secret of a database, made of the one that it keeps: as [`HashKey::of_table`], of the database's oid (8 bytes). So a
    /// database that was copied file by file, secret and all, has another one than that it was copied from.
    #[must_use]
    pub fn of_database(&self, oid: u32) -> HashKey {
        self.derived(&u64::from(oid).to_be_bytes())
    }

    fn derived(&self, of: &[u8]) -> HashKey {
        let half = |which: u8| {
            let mut hasher = SipHasher24::new_with_key(&self.0);
            hasher.write(of);
            hasher.write(&[which]);
            hasher.finish().to_be_bytes()
        };
        let mut key = [0; 16];
        key[..8].copy_from_slice(&half(0));
        key[8..].copy_from_slice(&half(1));
        HashKey(key)
    }
}

/// One column of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyPart<'a> {
    /// int2, int4, int8
    Int(i64),
    /// text, varchar, enums (their label)
    Text(&'a str),
    /// bytea
    Bytes(&'a [u8]),
    /// uuid
    Uuid([u8; 16]),
    /// bool
    Bool(bool),
    /// date: days since 2000-01-01
    Date(i32),
    /// timestamp, timestamptz: microseconds since 2000-01-01
    Timestamp(i64),
    /// A number that no row has: an integer beyond int8, or the nanoseconds of a time between two microseconds
    Outside(i128),
}

/// Hashes a key, or the value of a tag, part by part.
///
/// Most are short. They are held back and hashed in one go, which takes much less code than taking them in by and by does: a
/// committer with cold caches pays for each line of it.
pub struct KeyHasher {
    hasher: SipHasher13,
    held: [u8; HELD_BYTES_MAX],
    /// How many bytes are held; `None` once they were too many and the hasher has got them.
    held_bytes: Option<usize>,
}

/// Enough for two uuids, four integers, or a uuid as text.
const HELD_BYTES_MAX: usize = 64;

impl KeyHasher {
    /// Starts with the table's secret.
    #[inline]
    pub fn new(key: &HashKey) -> KeyHasher {
        KeyHasher { hasher: SipHasher13::new_with_key(&key.0), held: [0; HELD_BYTES_MAX], held_bytes: Some(0) }
    }

    /// Takes the next column of the key.
    #[inline]
    pub fn part(&mut self, part: KeyPart<'_>) {
        match part {
            KeyPart::Int(int) => self.fixed(1, &int.to_be_bytes()),
            KeyPart::Text(text) => self.sized(2, text.as_bytes()),
            KeyPart::Bytes(bytes) => self.sized(3, bytes),
            KeyPart::Uuid(uuid) => self.fixed(4, &uuid),
            KeyPart::Bool(bool) => self.fixed(5, &[u8::from(bool)]),
            KeyPart::Date(days) => self.fixed(6, &days.to_be_bytes()),
            KeyPart::Timestamp(micros) => self.fixed(7, &micros.to_be_bytes()),
            KeyPart::Outside(number) => self.fixed(10, &number.to_be_bytes()),
        }
    }

    /// Starts with the place of a tag in its table's list, from 1.
    pub fn of_tag(key: &HashKey, place: usize) -> KeyHasher {
        let mut hasher = KeyHasher::new(key);
        hasher.part(KeyPart::Int(place as i64));
        hasher
    }

    /// Takes a null, which is the value of a tag or part of one.
    pub fn null(&mut self) {
        self.fixed(8, &[]);
    }

    /// Takes a composite of so many parts, which follow.
    pub fn row(&mut self, parts: usize) {
        self.fixed(9, &(parts as u32).to_be_bytes());
    }

    /// The hash of all parts taken.
    #[inline]
    pub fn finish(&self) -> KeyHash {
        KeyHash(match self.held_bytes {
            Some(held_bytes) => self.hasher.hash(&self.held[..held_bytes]),
            None => self.hasher.finish(),
        })
    }

    #[inline]
    fn fixed(&mut self, tag: u8, bytes: &[u8]) {
        self.take(&[tag]);
        self.take(bytes);
    }

    fn sized(&mut self, tag: u8, bytes: &[u8]) {
        self.take(&[tag]);
        self.take(&(bytes.len() as u32).to_be_bytes());
        self.take(bytes);
    }

    #[inline]
    fn take(&mut self, bytes: &[u8]) {
        let end = self.held_bytes.map(|held_bytes| held_bytes + bytes.len());
        match (self.held_bytes, end) {
            (Some(begin), Some(end)) if end <= HELD_BYTES_MAX => {
                self.held[begin..end].copy_from_slice(bytes);
                self.held_bytes = Some(end);
            }
            _ => self.stream(bytes),
        }
    }

    fn stream(&mut self, bytes: &[u8]) {
        if let Some(held_bytes) = self.held_bytes.take() {
            self.hasher.write(&self.held[..held_bytes]);
        }
        self.hasher.write(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(parts: &[KeyPart<'_>]) -> KeyHash {
        let mut hasher = KeyHasher::new(&HashKey([7; 16]));
        parts.iter().for_each(|part| hasher.part(*part));
        hasher.finish()
    }

    #[test]
    fn the_hash_is_that_of_the_canonical_form() {
        let mut canonical = SipHasher13::new_with_key(&[7; 16]);
        canonical.write(b"\x01\0\0\0\0\0\0\0\x2a\x02\0\0\0\x02ab");
        assert_eq!(hash(&[KeyPart::Int(42), KeyPart::Text("ab")]).0, canonical.finish());
    }

    #[test]
    fn the_hash_is_that_of_the_canonical_form_however_long_it_is() {
        for (one, other) in (0..=80).flat_map(|one| (0..=80).map(move |other| (one, other))) {
            let texts = ["o".repeat(one), "t".repeat(other)];
            let mut canonical = SipHasher13::new_with_key(&[7; 16]);
            for text in &texts {
                canonical.write(&[2, 0, 0, 0, text.len() as u8]);
                canonical.write(text.as_bytes());
            }
            let hashed = hash(&[KeyPart::Text(&texts[0]), KeyPart::Text(&texts[1])]);
            assert_eq!(hashed.0, canonical.finish(), "{one} and {other} bytes");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(hash(&[KeyPart::Text("a"), KeyPart::Text("bc")]), hash(&[KeyPart::Text("ab"), KeyPart::Text("c")]));
        assert_ne!(hash(&[KeyPart::Text("a")]), hash(&[KeyPart::Bytes(b"a")]));
    }

    #[test]
    fn tags_are_told_apart() {
        let hash = |place, take: fn(&mut KeyHasher)| {
            let mut hasher = KeyHasher::of_tag(&HashKey([7; 16]), place);
            take(&mut hasher);
            hasher.finish()
        };
        let one = |hasher: &mut KeyHasher| hasher.part(KeyPart::Int(1));
        let values: [fn(&mut KeyHasher); 4] = [
            one,
            KeyHasher::null,
            |hasher| {
                hasher.row(1);
                hasher.null();
            },
            |hasher| {
                hasher.row(2);
                hasher.null();
            },
        ];
        let hashes: std::collections::BTreeSet<_> =
            [1, 2].into_iter().flat_map(|place| values.map(|value| hash(place, value))).collect();
        assert_eq!(hashes.len(), 8);
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert_eq!(format!("{:?}", HashKey([1; 16])), "HashKey(..)");
    }
}
