//! The stamps of one row's fields, as stored in its column `cs_clock`.
//!
//! Layout, big-endian: one byte format (1, or 2 with paths; the highest bit is the mark), the base stamp (8 bytes), then
//! per exception the field's number (2 bytes) and its stamp (8 bytes), sorted by field. A field without exception has
//! the base stamp. A null clock stands for a base of the row's version. In format 2 the number of exceptions (2 bytes)
//! comes before them, and behind them per path of a document the field's number (2 bytes), the path's length (2 bytes),
//! the path, and its stamp (8 bytes), sorted by field and path.
//!
//! `apply` writes *marked* clocks: the row trigger takes the stamps of a marked clock and strips the mark, whereas an
//! unmarked clock in an UPDATE is what a program read earlier and wrote back with the whole row, and is ignored.

use crate::number::{FieldId, Stamp, Version};
use crate::paths::Paths;
use smallvec::SmallVec;
use std::cmp::Ordering;

const FORMAT: u8 = 1;
const WITH_PATHS: u8 = 2;
const MARK: u8 = 0x80;
const HEADER_LEN: usize = 9;
const EXCEPTION_LEN: usize = 10;

/// When a path of a document was written.
type PathStamp = (FieldId, Box<[u8]>, Stamp);

/// The stamps of a row, read out of `cs_clock` and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    base: Stamp,
    exceptions: Vec<(FieldId, Stamp)>,
    /// Sorted by field and path.
    paths: Vec<PathStamp>,
    marked: bool,
}

/// Bytes that are no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no cache_sync clock")]
pub struct NotAClock;

impl Clock {
    /// A clock that gives every field the same stamp.
    pub fn all(base: Stamp) -> Clock {
        Clock { base, exceptions: Vec::new(), paths: Vec::new(), marked: false }
    }

    /// Reads the stored form; `None` is the null clock of a row at `version`.
    ///
    /// # Errors
    /// [`NotAClock`] for any other bytes than [`Clock::encode`] makes.
    pub fn decode(stored: Option<&[u8]>, version: Version) -> Result<Clock, NotAClock> {
        let Some(bytes) = stored else { return Ok(Clock::all(Stamp(version.0))) };
        let (exceptions, paths) = parts(bytes).ok_or(NotAClock)?;
        let exceptions: Vec<_> = exceptions
            .chunks_exact(EXCEPTION_LEN)
            .map(|chunk| (FieldId(be_i16(chunk)), Stamp(be_i64(&chunk[2..]))))
            .collect();
        let paths = read_paths(paths).ok_or(NotAClock)?;
        if (bytes[0] & !MARK == WITH_PATHS) == paths.is_empty() {
            return Err(NotAClock);
        }
        if !exceptions.is_sorted_by(|a, b| a.0 < b.0) || !paths.is_sorted_by(|a, b| (a.0, &a.1) < (b.0, &b.1)) {
            return Err(NotAClock);
        }
        Ok(Clock { base: Stamp(be_i64(&bytes[1..9])), exceptions, paths, marked: bytes[0] & MARK != 0 })
    }

    /// The stamp that all fields have, if that is one.
    pub fn uniform(&self) -> Option<Stamp> {
        (self.exceptions.is_empty() && self.paths.is_empty()).then_some(self.base)
    }

    /// The stored form.
    pub fn encode(&self) -> SmallVec<[u8; 32]> {
        let mut bytes = SmallVec::with_capacity(HEADER_LEN + EXCEPTION_LEN * self.exceptions.len());
        let format = if self.paths.is_empty() { FORMAT } else { WITH_PATHS };
        bytes.push(if self.marked { format | MARK } else { format });
        bytes.extend_from_slice(&self.base.0.to_be_bytes());
        if !self.paths.is_empty() {
            bytes.extend_from_slice(&(self.exceptions.len() as u16).to_be_bytes());
        }
        for (field, stamp) in &self.exceptions {
            bytes.extend_from_slice(&field.0.to_be_bytes());
            bytes.extend_from_slice(&stamp.0.to_be_bytes());
        }
        for (field, path, stamp) in &self.paths {
            bytes.extend_from_slice(&field.0.to_be_bytes());
            bytes.extend_from_slice(&(path.len() as u16).to_be_bytes());
            bytes.extend_from_slice(path);
            bytes.extend_from_slice(&stamp.0.to_be_bytes());
        }
        bytes
    }

    /// The same clock with every stamp changed.
    #[must_use]
    pub fn map(mut self, change: impl Fn(Stamp) -> Stamp) -> Clock {
        self.base = change(self.base);
        self.exceptions.iter_mut().for_each(|(_, stamp)| *stamp = change(*stamp));
        self.paths.iter_mut().for_each(|(.., stamp)| *stamp = change(*stamp));
        self
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

    /// The clock to be stored: without the mark, and without what a marked clock says of fields by their negative numbers.
    #[must_use]
    pub fn without_notes(mut self) -> Clock {
        self.exceptions.retain(|(field, _)| field.0 >= 0);
        self.marked(false)
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

    /// The stamps of a document.
    pub fn paths(&self, field: FieldId) -> Paths {
        let own = self.paths.iter().filter(|(of, ..)| *of == field);
        Paths { base: self.stamp(field), own: own.map(|(_, path, stamp)| (path.clone(), *stamp)).collect() }
    }

    /// Sets the stamps of a document.
    pub fn set_paths(&mut self, field: FieldId, paths: Paths) {
        self.set(field, paths.base);
        let start = self.paths.partition_point(|(of, ..)| *of < field);
        let end = self.paths.partition_point(|(of, ..)| *of <= field);
        self.paths.splice(start..end, paths.own.into_iter().map(|(path, stamp)| (field, path, stamp)));
    }

    /// Whether parts of the field, a document, were written at different times.
    pub fn has_paths(&self, field: FieldId) -> bool {
        self.paths.iter().any(|(of, ..)| *of == field)
    }

    /// Gives up the stamps of the field's parts.
    pub fn forget_paths(&mut self, field: FieldId) {
        self.paths.retain(|(of, ..)| *of != field);
    }

    /// These stamps, with another clock's stamps of the parts of documents.
    #[must_use]
    pub fn with_paths_of(mut self, other: &Clock) -> Clock {
        self.paths.clone_from(&other.paths);
        self
    }

    /// The stamp of whatever in the field was written last.
    pub fn newest(&self, field: FieldId) -> Stamp {
        let own = self.paths.iter().filter(|(of, ..)| *of == field).map(|(.., stamp)| *stamp);
        own.fold(self.stamp(field), Stamp::max)
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
///
/// A document was written when its newest part was.
pub fn compare(incoming: Stamp, stored: Option<&[u8]>, version: Version, field: FieldId) -> Ordering {
    let stamp = match stored.and_then(|bytes| Some((bytes, parts(bytes)?))) {
        Some((bytes, (_, paths))) if !paths.is_empty() => {
            Clock::decode(Some(bytes), version).map_or(version.0, |clock| clock.newest(field).0)
        }
        Some((bytes, (exceptions, _))) => exceptions
            .chunks_exact(EXCEPTION_LEN)
            .find(|chunk| be_i16(chunk) == field.0)
            .map_or_else(|| be_i64(&bytes[1..9]), |chunk| be_i64(&chunk[2..])),
        None => version.0,
    };
    incoming.0.cmp(&stamp)
}

/// Where the exceptions and the paths are; `None` for bytes that are no clock.
fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.get(HEADER_LEN..)?;
    match bytes[0] & !MARK {
        FORMAT => rest.len().is_multiple_of(EXCEPTION_LEN).then_some((rest, &[])),
        WITH_PATHS => {
            let count = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
            rest[2..].split_at_checked(count * EXCEPTION_LEN)
        }
        _ => None,
    }
}

fn read_paths(mut bytes: &[u8]) -> Option<Vec<PathStamp>> {
    let mut paths = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(4)?;
        let (path, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        let (stamp, rest) = rest.split_at_checked(8)?;
        if !Paths::is_path(path) {
            return None;
        }
        paths.push((FieldId(be_i16(head)), path.into(), Stamp(be_i64(stamp))));
        bytes = rest;
    }
    Some(paths)
}

fn be_i16(bytes: &[u8]) -> i16 {
    i16::from_be_bytes([bytes[0], bytes[1]])
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
    fn paths_survive_the_way() {
        let paths = |stamps: &[(&[u8], i64)]| Paths {
            base: Stamp(6),
            own: stamps.iter().map(|(path, stamp)| (Box::from(*path), Stamp(*stamp))).collect(),
        };
        let mut clock = Clock::all(Stamp(5));
        clock.set(FieldId(9), Stamp(8));
        clock.set_paths(FieldId(3), paths(&[(b"\0a", 7), (b"\0b\0c", 9)]));
        clock.set_paths(FieldId(2), paths(&[(b"\0x", 1)]));
        let bytes = clock.encode();
        assert_eq!(Clock::decode(Some(&bytes), Version(0)).unwrap(), clock);
        assert_eq!(clock.paths(FieldId(3)), paths(&[(b"\0a", 7), (b"\0b\0c", 9)]));
        assert_eq!((clock.newest(FieldId(3)), clock.newest(FieldId(2))), (Stamp(9), Stamp(6)));
        assert_eq!(compare(Stamp(8), Some(&bytes), Version(0), FieldId(9)), Ordering::Equal);
        assert_eq!(compare(Stamp(9), Some(&bytes), Version(0), FieldId(3)), Ordering::Equal);
        assert_eq!((clock.uniform(), uniform(Some(&bytes), Version(0))), (None, None));
        for length in 0..bytes.len() {
            let cut = Clock::decode(Some(&bytes[..length]), Version(0));
            assert!(cut.is_err() || cut.unwrap().encode().len() == length);
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let empty_path = [&[2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0][..], &[0; 8]].concat();
        for bytes in [&[][..], &[1; 8], &[2; 9], &[3; 9], &[1; 12], &empty_path] {
            assert_eq!(Clock::decode(Some(bytes), Version(0)), Err(NotAClock));
        }
    }
}
