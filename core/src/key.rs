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

/// Hashes a key, or the value of a tag, part by part, which are taken in as `I` does.
pub struct KeyHasher<I = AtOnce>(I);

/// How a [`KeyHasher`] takes its parts in.
pub trait Intake {
    /// Starts with the secret.
    fn new(key: &HashKey) -> Self;

    /// Takes a byte.
    fn byte(&mut self, byte: u8);

    /// Takes 4 bytes, the highest one first.
    fn four(&mut self, bytes: u32);

    /// Takes 8 bytes, the highest one first.
    fn eight(&mut self, bytes: u64);

    /// Takes so many.
    fn bytes(&mut self, bytes: &[u8]);

    /// The hash of all that was taken.
    fn finish(&self) -> u64;
}

impl KeyHasher {
    /// Starts with the table's secret.
    #[inline]
    pub fn new(key: &HashKey) -> KeyHasher {
        KeyHasher(AtOnce::new(key))
    }

    /// Starts with the place of a tag in its table's list, from 1.
    pub fn of_tag(key: &HashKey, place: usize) -> KeyHasher {
        let mut hasher = KeyHasher::new(key);
        hasher.part(KeyPart::Int(place as i64));
        hasher
    }
}

impl KeyHasher<ByAndBy> {
    /// Starts with the table's secret.
    #[inline]
    pub fn by_and_by(key: &HashKey) -> KeyHasher<ByAndBy> {
        KeyHasher(ByAndBy::new(key))
    }
}

impl<I: Intake> KeyHasher<I> {
    /// Takes the next column of the key.
    #[inline]
    pub fn part(&mut self, part: KeyPart<'_>) {
        match part {
            KeyPart::Int(int) => self.eight(1, int),
            KeyPart::Text(text) => self.sized(2, text.as_bytes()),
            KeyPart::Bytes(bytes) => self.sized(3, bytes),
            KeyPart::Uuid(uuid) => self.sixteen(4, u128::from_be_bytes(uuid)),
            KeyPart::Bool(bool) => {
                self.0.byte(5);
                self.0.byte(u8::from(bool));
            }
            KeyPart::Date(days) => self.four(6, days as u32),
            KeyPart::Timestamp(micros) => self.eight(7, micros),
            KeyPart::Outside(number) => self.sixteen(10, number as u128),
        }
    }

    /// Takes a null, which is the value of a tag or part of one.
    pub fn null(&mut self) {
        self.0.byte(8);
    }

    /// Takes a composite of so many parts, which follow.
    pub fn row(&mut self, parts: usize) {
        self.four(9, parts as u32);
    }

    /// The hash of all parts taken.
    #[inline]
    pub fn finish(&self) -> KeyHash {
        KeyHash(self.0.finish())
    }

    #[inline]
    fn four(&mut self, tag: u8, bytes: u32) {
        self.0.byte(tag);
        self.0.four(bytes);
    }

    #[inline]
    fn eight(&mut self, tag: u8, bytes: i64) {
        self.0.byte(tag);
        self.0.eight(bytes as u64);
    }

    #[inline]
    fn sixteen(&mut self, tag: u8, bytes: u128) {
        self.0.byte(tag);
        self.0.eight((bytes >> 64) as u64);
        self.0.eight(bytes as u64);
    }

    #[inline]
    fn sized(&mut self, tag: u8, bytes: &[u8]) {
        self.four(tag, bytes.len() as u32);
        self.0.bytes(bytes);
    }
}

/// Most keys are short. They are held back and hashed in one go, which takes much less code than taking them in by and by does: a
/// committer with cold caches pays for each line of it.
pub struct AtOnce {
    hasher: SipHasher13,
    held: [u8; HELD_BYTES_MAX],
    /// How many bytes are held; `None` once they were too many and the hasher has got them.
    held_bytes: Option<usize>,
}

/// Enough for two uuids, four integers, or a uuid as text.
const HELD_BYTES_MAX: usize = 64;

impl AtOnce {
    fn stream(&mut self, bytes: &[u8]) {
        if let Some(held_bytes) = self.held_bytes.take() {
            self.hasher.write(&self.held[..held_bytes]);
        }
        self.hasher.write(bytes);
    }
}

impl Intake for AtOnce {
    #[inline]
    fn new(key: &HashKey) -> AtOnce {
        AtOnce { hasher: SipHasher13::new_with_key(&key.0), held: [0; HELD_BYTES_MAX], held_bytes: Some(0) }
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    #[inline]
    fn four(&mut self, bytes: u32) {
        self.bytes(&bytes.to_be_bytes());
    }

    #[inline]
    fn eight(&mut self, bytes: u64) {
        self.bytes(&bytes.to_be_bytes());
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.held_bytes.map(|held_bytes| held_bytes + bytes.len());
        match (self.held_bytes, end) {
            (Some(begin), Some(end)) if end <= HELD_BYTES_MAX => {
                self.held[begin..end].copy_from_slice(bytes);
                self.held_bytes = Some(end);
            }
            _ => self.stream(bytes),
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        match self.held_bytes {
            Some(held_bytes) => self.hasher.hash(&self.held[..held_bytes]),
            None => self.hasher.finish(),
        }
    }
}

/// Takes each part where it is, in registers. What is written to memory in parts and read as a whole must have left the processor's store
/// buffer first, behind all that was written before: of two reads of a cache, one after the other, the second could not begin to wait for
/// its entry before the first had got its own.
pub struct ByAndBy(SipHasher13);

impl Intake for ByAndBy {
    #[inline]
    fn new(key: &HashKey) -> ByAndBy {
        ByAndBy(SipHasher13::new_with_key(&key.0))
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.0.write_u8(byte);
    }

    #[inline]
    fn four(&mut self, bytes: u32) {
        self.0.write_u32(bytes.to_be());
    }

    #[inline]
    fn eight(&mut self, bytes: u64) {
        self.0.write_u64(bytes.to_be());
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((eight, behind)) = rest.split_first_chunk() {
            self.0.write_u64(u64::from_ne_bytes(*eight));
            rest = behind;
        }
        if let Some((four, behind)) = rest.split_first_chunk() {
            self.0.write_u32(u32::from_ne_bytes(*four));
            rest = behind;
        }
        rest.iter().for_each(|byte| self.0.write_u8(*byte));
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: HashKey = HashKey([7; 16]);

    /// However it is taken in.
    fn hash(parts: &[KeyPart<'_>]) -> KeyHash {
        let (mut at_once, mut by_and_by) = (KeyHasher::new(&SECRET), KeyHasher::by_and_by(&SECRET));
        for part in parts {
            at_once.part(*part);
            by_and_by.part(*part);
        }
        assert_eq!(at_once.finish(), by_and_by.finish(), "{parts:?}");
        at_once.finish()
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
            // No byte like the one beside it.
            let text = |len: usize, from: u8| (0..len).map(|at| char::from(from + (at % 40) as u8)).collect::<String>();
            let texts = [text(one, b'0'), text(other, b'@')];
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
    fn the_hash_of_each_kind_is_that_of_its_bytes() {
        let uuid = std::array::from_fn(|at| at as u8);
        let canonical: [(KeyPart<'_>, &[u8]); 8] = [
            (KeyPart::Int(-2), b"\x01\xff\xff\xff\xff\xff\xff\xff\xfe"),
            (KeyPart::Text("\u{e9}"), b"\x02\0\0\0\x02\xc3\xa9"),
            (KeyPart::Bytes(b"abc"), b"\x03\0\0\0\x03abc"),
            (KeyPart::Uuid(uuid), b"\x04\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"),
            (KeyPart::Bool(true), b"\x05\x01"),
            (KeyPart::Date(-3), b"\x06\xff\xff\xff\xfd"),
            (KeyPart::Timestamp(0x0102), b"\x07\0\0\0\0\0\0\x01\x02"),
            (KeyPart::Outside(1 << 64), b"\x0a\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0"),
        ];
        for (one, of_one) in canonical {
            for (other, of_other) in canonical {
                let hashed = SipHasher13::new_with_key(&SECRET.0).hash(&[of_one, of_other].concat());
                assert_eq!(hash(&[one, other]).0, hashed, "{one:?}, {other:?}");
            }
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
