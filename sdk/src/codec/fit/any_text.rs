//! What a member is shown to see whether it takes every text.

use crate::codec::row::{Cells, DecodeError};
use serde::de::{Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// A text for those who ask for one, and nothing for all others.
pub(super) struct AnyText {
    /// It is refused, to learn who would have taken it.
    pub(super) is_refused: bool,
}

impl<'de> Deserializer<'de> for AnyText {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::custom("no text was asked for"))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.is_refused {
            return Err(DecodeError::custom("it takes texts that are no numbers"));
        }
        visitor.visit_borrowed_str("no number")
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct enum identifier ignored_any
    }
}

impl Cells<'_> for AnyText {
    fn is_null(&self) -> bool {
        false
    }
}
