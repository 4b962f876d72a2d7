//! Reads the stored form of jsonb, as utils/jsonb.h describes it: a header with flags and count, an entry of 4 bytes for
//! each child (for objects all keys, sorted, then all values), then the children's bytes.
//!
//! A batch is a thousand objects with the same keys. Asking Postgres for each of them would cost as much as applying
//! them; here the second object is known to have the keys of the first by comparing two runs of bytes.

use pgrx::pg_sys;

const COUNT: u32 = 0x0fff_ffff;
const IS_SCALAR: u32 = 0x1000_0000;
const IS_OBJECT: u32 = 0x2000_0000;
const IS_ARRAY: u32 = 0x4000_0000;
const LENGTH: u32 = 0x0fff_ffff;
const TYPE: u32 = 0x7000_0000;
const IS_NUMERIC: u32 = 0x1000_0000;
const IS_CONTAINER: u32 = 0x5000_0000;
const HAS_OFFSET: u32 = 0x8000_0000;

/// An array or an object.
#[derive(Clone, Copy)]
pub(super) struct Container<'a>(&'a [u8]);

/// A value inside a container.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    kind: u32,
    bytes: &'a [u8],
}

impl<'a> Container<'a> {
    /// The container of a jsonb value.
    ///
    /// # Safety
    /// `datum` must be a jsonb that is neither compressed nor stored elsewhere, aligned, and must outlive the container.
    pub(super) unsafe fn of(datum: pg_sys::Datum) -> Container<'a> {
        // SAFETY: the caller vouches for the value; it begins with its size.
        Container(unsafe { pgrx::varlena::varlena_to_byte_slice(datum.cast_mut_ptr()) })
    }

    fn word(&self, place: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.0[place * 4..place * 4 + 4]);
        u32::from_ne_bytes(word)
    }

    pub(super) fn is_object(&self) -> bool {
        self.word(0) & IS_OBJECT != 0
    }

    pub(super) fn is_array(&self) -> bool {
        self.word(0) & (IS_ARRAY | IS_SCALAR) == IS_ARRAY
    }

    /// How many elements or members it has.
    pub(super) fn len(&self) -> usize {
        (self.word(0) & COUNT) as usize
    }

    /// How many children: a member is two.
    fn children(&self) -> usize {
        if self.is_object() { 2 * self.len() } else { self.len() }
    }

    fn data(&self) -> usize {
        4 * (1 + self.children())
    }

    /// Where a child ends, when it begins at `start`, counted from the data.
    fn end(&self, child: usize, start: usize) -> usize {
        let entry = self.word(1 + child);
        let length = (entry & LENGTH) as usize;
        if entry & HAS_OFFSET != 0 { length } else { start + length }
    }

    fn value(&self, child: usize, start: usize) -> Value<'a> {
        let (data, kind) = (self.data(), self.word(1 + child) & TYPE);
        let end = data + self.end(child, start);
        let start = data + start;
        // Numbers and containers begin at a multiple of 4 bytes, and their padding counts as theirs.
        let is_aligned = kind == IS_NUMERIC || kind == IS_CONTAINER;
        let start = if is_aligned { start.next_multiple_of(4) } else { start };
        Value { kind, bytes: &self.0[start..end] }
    }

    /// The elements of an array.
    pub(super) fn elements(self) -> impl Iterator<Item = Value<'a>> {
        let mut start = 0;
        (0..self.children()).map(move |child| {
            let value = self.value(child, start);
            start = self.end(child, start);
            value
        })
    }

    /// The bytes that say which keys an object has: two objects with the same bytes have the same keys.
    pub(super) fn key_bytes(&self) -> (&'a [u8], &'a [u8]) {
        let keys = self.len();
        let end = (0..keys).fold(0, |start, child| self.end(child, start));
        (&self.0[..4 * (1 + keys)], &self.0[self.data()..self.data() + end])
    }

    /// The keys of an object, in stored order.
    pub(super) fn keys(self) -> impl Iterator<Item = &'a [u8]> {
        let keys = self.len();
        self.elements().take(keys).map(|value| value.bytes)
    }

    /// The value of the key at this place in the stored order.
    pub(super) fn member(&self, place: usize) -> Value<'a> {
        let child = self.len() + place;
        let start = (0..child).fold(0, |start, child| self.end(child, start));
        self.value(child, start)
    }
}

impl<'a> Value<'a> {
    /// The value as a container.
    pub(super) fn container(&self) -> Option<Container<'a>> {
        (self.kind == IS_CONTAINER).then_some(Container(self.bytes))
    }

    /// The value as a number of 64 bits; a fraction is rounded, what does not fit is an error of Postgres'.
    pub(super) fn int8(&self) -> Option<i64> {
        if self.kind != IS_NUMERIC {
            return None;
        }
        let numeric = pg_sys::Datum::from(self.bytes.as_ptr());
        // SAFETY: an entry of this type is a numeric, aligned as such, which numeric_int8 takes as its argument.
        unsafe { pgrx::direct_function_call::<i64>(pg_sys::numeric_int8, &[Some(numeric)]) }
    }
}
