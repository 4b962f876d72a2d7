//! The stamps of one row's fields, as stored in its column `cs_clock`.
//!
//! Layout, big-endian: one byte format (1; the highest bit is the mark), the base stamp (8 bytes), then per exception
//! the field's number (2 bytes) and its stamp (8 bytes), sorted by field. A field without exception has the base
//! stamp. A null clock stands for a base of the row's version.
//!
//! `apply` writes *marked* clocks: the row trigger takes the stamps of a marked clock and strips the mark, whereas an
//! unmarked clock in an UPDATE is what a program read earlier and wrote back with the whole row, and is ignored.

use crate::number::{FieldId, Stamp, Version};
use smallvec::SmallVec;
use std::cmp::Ordering;

const FORMAT: u8 = 1;
const MARK: u8 = 0x80;
const HEADER_LEN: usize = 9;
const EXCEPTION_LEN: usize = 10;

/// The stamps of a row, read out of `cs_clock` and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    base: Stamp,
    exceptions: Vec<(FieldId, Stamp)>,
    marked: bool,
}

/// Bytes that are no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no cache_sync clock")]
pub struct NotAClock;

impl Clock {
    /// A clock that gives every field the same stamp.
    pub fn all(base: Stamp) -> Clock {
        Clock { base, exceptions: Vec::new(), marked: false }
    }

    /// Reads the stored form; `None` is the null clock of a row at `version`.
    ///
    /// # Errors
    /// [`NotAClock`] for any other bytes than [`Clock::encode`] makes.
    pub fn decode(stored: Option<&[u8]>, version: Version) -> Result<Clock, NotAClock> {
        let Some(bytes) = stored else { return Ok(Clock::all(Stamp(version.0))) };
        if bytes.len() < HEADER_LEN
            || bytes[0] & !MARK != FORMAT
            || !(bytes.len() - HEADER_LEN).is_multiple_of(EXCEPTION_LEN)
        {
            return Err(NotAClock);
        }
        let exceptions: Vec<_> = bytes[HEADER_LEN..]
            .chunks_exact(EXCEPTION_LEN)
            .map(|chunk| (FieldId(i16::from_be_bytes([chunk[0], chunk[1]])), Stamp(be_i64(&chunk[2..]))))
            .collect();
        if !exceptions.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(NotAClock);
        }
        Ok(Clock { base: Stamp(be_i64(&bytes[1..9])), exceptions, marked: bytes[0] & MARK != 0 })
    }

    /// The stamp that all fields have, if that is one.
    pub fn uniform(&self) -> Option<Stamp> {
        self.exceptions.is_empty().then_some(self.base)
    }

    /// The stored form.
    pub fn encode(&self) -> SmallVec<[u8; 32]> {
        let mut bytes = SmallVec::with_capacity(HEADER_LEN + EXCEPTION_LEN * self.exceptions.len());
        bytes.push(if self.marked { FORMAT | MARK } else { FORMAT });
        bytes.extend_from_slice(&self.base.0.to_be_bytes());
        for (field, stamp) in &self.exceptions {
            bytes.extend_from_slice(&field.0.to_be_bytes());
            bytes.extend_from_slice(&stamp.0.to_be_bytes());
        }
        bytes
    }

    /// Whether `apply` wrote this clock, rather than a program that writes whole rows.
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// The same stamps, marked or not.
    #[must_use]
    pub fn marked(mut self, marked: bool) -> Clock {
        self.marked = marked;
        self
    }

    /// The field's stamp.
    pub fn stamp(&self, field: FieldId) -> Stamp {
        match self.exceptions.binary_search_by_key(&field, |exception| exception.0) {
            Ok(found) => self.exceptions[found].1,
            Err(_) => self.base,
        }
    }

    /// Sets the field's stamp, to an older one too.
    pub fn set(&mut self, field: FieldId, stamp: Stamp) {
        match self.exceptions.binary_search_by_key(&field, |exception| exception.0) {
            Ok(found) if stamp == self.base => {
                self.exceptions.remove(found);
            }
            Ok(found) => self.exceptions[found].1 = stamp,
            Err(_) if stamp == self.base => {}
            Err(place) => self.exceptions.insert(place, (field, stamp)),
        }
    }

    /// Raises the field's stamp to `stamp` unless it is there already.
    pub fn raise(&mut self, field: FieldId, stamp: Stamp) {
        if stamp > self.stamp(field) {
            self.set(field, stamp);
        }
    }
}

/// The stamp that all fields of a stored clock have, if that is one, without building a [`Clock`].
pub fn uniform(stored: Option<&[u8]>, version: Version) -> Option<Stamp> {
    match stored {
        None => Some(Stamp(version.0)),
        Some(bytes) => (bytes.len() == HEADER_LEN).then(|| Stamp(be_i64(&bytes[1..]))),
    }
}

/// How a write stamped `incoming` stands to the field's stored stamp, without building a [`Clock`]: `Greater` wins,
/// `Equal` is decided by the larger value, `Less` loses. Bytes that are no clock count as null.
pub fn compare(incoming: Stamp, stored: Option<&[u8]>, version: Version, field: FieldId) -> Ordering {
    let stamp = match stored {
        Some(bytes) if bytes.len() >= HEADER_LEN => bytes[HEADER_LEN..]
            .chunks_exact(EXCEPTION_LEN)
            .find(|chunk| i16::from_be_bytes([chunk[0], chunk[1]]) == field.0)
            .map_or_else(|| be_i64(&bytes[1..9]), |chunk| be_i64(&chunk[2..])),
        _ => version.0,
    };
    incoming.0.cmp(&stamp)
}

fn be_i64(bytes: &[u8]) -> i64 {
    let mut array = [0; 8];
    array.copy_from_slice(&bytes[..8]);
    i64::from_be_bytes(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_clock_stamps_every_field_with_the_version() {
        let clock = Clock::decode(None, Version(7)).unwrap();
        assert_eq!(clock.stamp(FieldId(3)), Stamp(7));
        assert_eq!(compare(Stamp(8), None, Version(7), FieldId(3)), Ordering::Greater);
        assert_eq!(compare(Stamp(7), None, Version(7), FieldId(3)), Ordering::Equal);
    }

    #[test]
    fn stored_and_read_again_it_is_the_same() {
        let mut clock = Clock::all(Stamp(5)).marked(true);
        clock.set(FieldId(9), Stamp(8));
        clock.set(FieldId(2), Stamp(6));
        clock.raise(FieldId(2), Stamp(4));
        let bytes = clock.encode();
        assert_eq!(Clock::decode(Some(&bytes), Version(0)).unwrap(), clock);
        assert_eq!(compare(Stamp(8), Some(&bytes), Version(0), FieldId(9)), Ordering::Equal);
        assert_eq!(compare(Stamp(5), Some(&bytes), Version(0), FieldId(1)), Ordering::Equal);
        clock.set(FieldId(9), Stamp(5));
        clock.set(FieldId(2), Stamp(5));
        assert_eq!(clock.encode().len(), HEADER_LEN);
        assert_eq!(clock.uniform(), Some(Stamp(5)));
        assert_eq!(uniform(Some(&clock.encode()), Version(0)), Some(Stamp(5)));
        assert_eq!(uniform(Some(&bytes), Version(0)), None);
        assert_eq!(uniform(None, Version(7)), Some(Stamp(7)));
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&[][..], &[1; 8], &[2; 9], &[1; 12]] {
            assert_eq!(Clock::decode(Some(bytes), Version(0)), Err(NotAClock));
        }
    }
}
