//! Finds members and elements in JSON texts that Postgres has found valid, without taking them apart any further.
//!
//! A batch is a thousand objects with the same keys, of whose members only the place and the stamps matter here; what
//! the columns get, Postgres reads itself.

use pgrx::pg_sys;
use std::borrow::Cow;

/// A value in a JSON text, without the space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    /// The value that a json is.
    ///
    /// # Safety
    /// `datum` must be a json that is neither compressed nor stored elsewhere, and must outlive this.
    pub(super) unsafe fn of(datum: pg_sys::Datum) -> Json<'a> {
        // SAFETY: the caller vouches for the value; it begins with its size.
        Json::new(unsafe { pgrx::varlena::varlena_to_byte_slice(datum.cast_mut_ptr()) })
    }

    /// The value in a valid JSON text.
    pub(super) fn new(text: &'a [u8]) -> Json<'a> {
        Json(text.trim_ascii())
    }

    /// Its text.
    pub(super) fn text(self) -> &'a [u8] {
        self.0
    }

    /// Where a value that was found in this one is in this one's text.
    pub(super) fn range_of(self, inner: Json<'_>) -> (usize, usize) {
        let start = inner.0.as_ptr().addr() - self.0.as_ptr().addr();
        (start, start + inner.0.len())
    }

    pub(super) fn is_array(self) -> bool {
        self.0.first() == Some(&b'[')
    }

    pub(super) fn is_object(self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// The elements of an array.
    pub(super) fn elements(self) -> impl Iterator<Item = Json<'a>> {
        let mut rest = Rest { text: self.0, at: 1 };
        std::iter::from_fn(move || rest.next_value())
    }

    /// The members of an object: their keys as they stand between the quotation marks, and their values.
    pub(super) fn members(self) -> impl Iterator<Item = (&'a [u8], Json<'a>)> {
        let mut rest = Rest { text: self.0, at: 1 };
        std::iter::from_fn(move || {
            let key = rest.next_value()?.0;
            rest.skip_space();
            rest.at += 1;
            Some((key.get(1..key.len() - 1)?, rest.next_value()?))
        })
    }

    /// The value as a whole number of 64 bits.
    pub(super) fn int8(self) -> Option<i64> {
        std::str::from_utf8(self.0).ok()?.parse().ok()
    }
}

/// A key as it is, without escapes.
pub(super) fn unescaped(key: &[u8]) -> Cow<'_, str> {
    if key.contains(&b'\\') {
        let quoted = [b"\"", key, b"\""].concat();
        if let Ok(key) = serde_json::from_slice(&quoted) {
            return Cow::Owned(key);
        }
    }
    String::from_utf8_lossy(key)
}

/// What of an array or object has not been looked at.
struct Rest<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(b']')
    }

    fn skip_space(&mut self) {
        while self.byte().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    /// The value after the next comma, if there is one; `None` at the end of the array or object.
    fn next_value(&mut self) -> Option<Json<'a>> {
        self.skip_space();
        if self.byte() == b',' {
            self.at += 1;
            self.skip_space();
        }
        let start = self.at;
        match self.byte() {
            b']' | b'}' => return None,
            b'"' => self.skip_string(),
            b'[' | b'{' => self.skip_nested(),
            _ => {
                while !matches!(self.byte(), b',' | b']' | b'}') && !self.byte().is_ascii_whitespace() {
                    self.at += 1;
                }
            }
        }
        self.text.get(start..self.at).map(Json)
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => return,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
    }

    fn skip_nested(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}
