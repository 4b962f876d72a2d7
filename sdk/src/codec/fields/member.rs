//! One member as its JSON text.
//!
//! serde_json writes; between it and the member stands a guard that bounds the depth, so that no value overflows the
//! stack, and keeps what JSON has no word for: NaN and the infinities become the strings that Postgres reads, byte
//! strings their hexadecimal text.

use super::EncodeError;
use crate::codec::layout::TypeKind;
use crate::codec::text;
use postgres_types::Type;
use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use std::fmt::Display;

/// How deep a value may call itself. Far more than [`super::check`] lets through as JSON, because not every step is seen
/// there.
const CALLS_MAX: u16 = 512;

/// Appends the value's JSON text, for a column of this type.
pub(super) fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, ty: &Type, value: &T) -> Result<(), EncodeError> {
    let ty = match TypeKind::of(ty) {
        TypeKind::Array(element) => element,
        _ => ty,
    };
    let document = matches!(TypeKind::of(ty), TypeKind::Json | TypeKind::Jsonb);
    let form = if document { Form::Document } else { Form::Column };
    serde_json::to_writer(out, &Guarded { value, guard: Guard { calls: 0, form } }).map_err(EncodeError::new)
}

/// The value as it is, but an error where it is nested so deeply that it would overflow the stack.
#[cfg(feature = "packed")]
pub(super) fn of_bounded_depth<T: Serialize + ?Sized>(value: &T) -> impl Serialize {
    Guarded { value, guard: Guard { calls: 0, form: Form::AsItIs } }
}

#[derive(Clone, Copy)]
struct Guard {
    calls: u16,
    form: Form,
}

/// What becomes of that for which JSON has no word.
#[derive(Clone, Copy)]
enum Form {
    /// It becomes a string that Postgres reads.
    Column,
    /// It is an error: in a document nobody reads `"NaN"` as a number.
    Document,
    /// It needs no word: this is not JSON.
    #[cfg(feature = "packed")]
    AsItIs,
}

struct Guarded<'a, T: ?Sized> {
    value: &'a T,
    guard: Guard,
}

impl<T: Serialize + ?Sized> Serialize for Guarded<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.guard.calls > CALLS_MAX {
            return Err(S::Error::custom("the value is nested too deeply"));
        }
        let guard = Guard { calls: self.guard.calls + 1, ..self.guard };
        self.value.serialize(Through { inner: serializer, guard })
    }
}

/// A serializer, or a part of one, that wraps what passes through it.
struct Through<S> {
    inner: S,
    guard: Guard,
}

impl<S> Through<S> {
    fn guarded<'v, T: ?Sized>(&self, value: &'v T) -> Guarded<'v, T> {
        Guarded { value, guard: self.guard }
    }
}

macro_rules! forwarded {
    ($($method:ident($ty:ty))*) => {$(
        fn $method(self, value: $ty) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

macro_rules! compounds {
    ($($method:ident($($argument:ident: $ty:ty),*) -> $part:ident)*) => {$(
        fn $method(self, $($argument: $ty),*) -> Result<Self::$part, S::Error> {
            Ok(Through { inner: self.inner.$method($($argument),*)?, guard: self.guard })
        }
    )*};
}

impl<S: Serializer> Serializer for Through<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Through<S::SerializeSeq>;
    type SerializeTuple = Through<S::SerializeTuple>;
    type SerializeTupleStruct = Through<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Through<S::SerializeTupleVariant>;
    type SerializeMap = Through<S::SerializeMap>;
    type SerializeStruct = Through<S::SerializeStruct>;
    type SerializeStructVariant = Through<S::SerializeStructVariant>;

    forwarded! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_i128(i128) serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
        serialize_u128(u128) serialize_char(char) serialize_str(&str) serialize_unit_struct(&'static str)
    }

    compounds! {
        serialize_seq(length: Option<usize>) -> SerializeSeq
        serialize_tuple(length: usize) -> SerializeTuple
        serialize_tuple_struct(name: &'static str, length: usize) -> SerializeTupleStruct
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, length: usize)
            -> SerializeTupleVariant
        serialize_map(length: Option<usize>) -> SerializeMap
        serialize_struct(name: &'static str, length: usize) -> SerializeStruct
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, length: usize)
            -> SerializeStructVariant
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        match self.guard.form.word(f64::from(value))? {
            None => self.inner.serialize_f32(value),
            Some(word) => self.inner.serialize_str(word),
        }
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        match self.guard.form.word(value)? {
            None => self.inner.serialize_f64(value),
            Some(word) => self.inner.serialize_str(word),
        }
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<S::Ok, S::Error> {
        match self.guard.form {
            Form::Column => self.inner.serialize_str(&text::hex(bytes)),
            _ => self.inner.serialize_bytes(bytes),
        }
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.guarded(value);
        self.inner.serialize_some(&value)
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.guarded(value);
        self.inner.serialize_newtype_struct(name, &value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = self.guarded(value);
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! parts {
    ($($part:ident { $($method:ident($($name:ident: $ty:ty)?);)+ })*) => {$(
        impl<S: $part> $part for Through<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            $(fn $method<T: Serialize + ?Sized>(&mut self, $($name: $ty,)? value: &T) -> Result<(), S::Error> {
                let value = self.guarded(value);
                self.inner.$method($($name,)? &value)
            })+

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

parts! {
    SerializeSeq { serialize_element(); }
    SerializeTuple { serialize_element(); }
    SerializeTupleStruct { serialize_field(); }
    SerializeTupleVariant { serialize_field(); }
    SerializeStruct { serialize_field(name: &'static str); }
    SerializeStructVariant { serialize_field(name: &'static str); }
    SerializeMap { serialize_key(); serialize_value(); }
}

impl Form {
    /// What is written instead of the number, if it is not finite.
    fn word<E: serde::ser::Error>(self, value: f64) -> Result<Option<&'static str>, E> {
        let word = match value {
            value if value.is_nan() => "NaN",
            f64::INFINITY => "Infinity",
            f64::NEG_INFINITY => "-Infinity",
            _ => return Ok(None),
        };
        match self {
            Form::Column => Ok(Some(word)),
            Form::Document => Err(E::custom(format_args!("a JSON document cannot hold {word}"))),
            #[cfg(feature = "packed")]
            Form::AsItIs => Ok(None),
        }
    }
}
