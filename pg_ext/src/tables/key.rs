//! Hashes the key of a row, by core's canonical form.

use crate::pg::value::plain_bytes;
use cache_sync_core::key::{KeyHasher, KeyPart};
use pgrx::pg_sys;
use std::borrow::Cow;
use std::ffi::CStr;

/// How a column of the key enters the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// int2
    Int2,
    /// int4
    Int4,
    /// int8
    Int8,
    /// text, varchar
    Text,
    /// An enum, by its label.
    Enum,
    /// bytea
    Bytes,
    /// uuid
    Uuid,
    /// bool
    Bool,
    /// date
    Date,
    /// timestamp, timestamptz
    Timestamp,
}

/// A column of the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashedColumn {
    /// Its number in the relation at hand.
    pub(crate) attnum: i16,
    /// How it is hashed.
    pub(crate) kind: KeyKind,
}

impl KeyKind {
    /// The kind of a type, a domain being taken for its base type; `None` for types that cannot be keys here.
    pub(crate) fn of(type_oid: pg_sys::Oid) -> Option<KeyKind> {
        // SAFETY: both look a type up in the system catalogs; the caller has it from a column.
        let base = unsafe { pg_sys::getBaseType(type_oid) };
        Some(match base {
            pg_sys::INT2OID => KeyKind::Int2,
            pg_sys::INT4OID => KeyKind::Int4,
            pg_sys::INT8OID => KeyKind::Int8,
            pg_sys::TEXTOID | pg_sys::VARCHAROID => KeyKind::Text,
            pg_sys::BYTEAOID => KeyKind::Bytes,
            pg_sys::UUIDOID => KeyKind::Uuid,
            pg_sys::BOOLOID => KeyKind::Bool,
            pg_sys::DATEOID => KeyKind::Date,
            pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => KeyKind::Timestamp,
            // SAFETY: as above.
            _ if unsafe { pg_sys::type_is_enum(base) } => KeyKind::Enum,
            _ => return None,
        })
    }

    /// Whether equal values are equal datums.
    pub(crate) fn is_by_value(self) -> bool {
        !matches!(self, KeyKind::Text | KeyKind::Bytes | KeyKind::Uuid)
    }

    /// Gives a value of this kind to the hasher.
    ///
    /// # Safety
    /// `datum` must be a value, not null, of a type of this kind.
    #[inline]
    pub(crate) unsafe fn hash(self, hasher: &mut KeyHasher, datum: pg_sys::Datum) {
        let bits = datum.value();
        // SAFETY: the caller vouches for the type: by-value types lie in the datum's low bits, the others behind it.
        let part = unsafe {
            match self {
                KeyKind::Int2 => KeyPart::Int(i64::from(bits as i16)),
                KeyKind::Int4 => KeyPart::Int(i64::from(bits as i32)),
                KeyKind::Int8 => KeyPart::Int(bits as i64),
                KeyKind::Bool => KeyPart::Bool(bits as u8 != 0),
                KeyKind::Date => KeyPart::Date(bits as i32),
                KeyKind::Timestamp => KeyPart::Timestamp(bits as i64),
                KeyKind::Uuid => KeyPart::Uuid(*datum.cast_mut_ptr::<[u8; 16]>()),
                KeyKind::Bytes => KeyPart::Bytes(plain_bytes(datum)),
                KeyKind::Text => return hasher.part(KeyPart::Text(&utf8(plain_bytes(datum)))),
                KeyKind::Enum => return hash_label(hasher, pg_sys::Oid::from(bits as u32)),
            }
        };
        hasher.part(part);
    }
}

/// Text in the server's encoding as UTF-8. What is no valid text, as SQL_ASCII allows, is hashed with its invalid bytes
/// replaced: two such keys may share a hash, which drops too much and never too little.
fn utf8(text: &[u8]) -> Cow<'_, str> {
    // SAFETY: the encoding is a plain number of this database; pg_server_to_any returns either its argument or a
    // zero-terminated copy.
    unsafe {
        match pg_sys::GetDatabaseEncoding() as u32 {
            pg_sys::pg_enc::PG_UTF8 | pg_sys::pg_enc::PG_SQL_ASCII => String::from_utf8_lossy(text),
            _ => {
                let converted =
                    pg_sys::pg_server_to_any(text.as_ptr().cast(), text.len() as i32, pg_sys::pg_enc::PG_UTF8 as i32);
                if converted.cast_const().cast() == text.as_ptr() {
                    String::from_utf8_lossy(text)
                } else {
                    CStr::from_ptr(converted).to_string_lossy()
                }
            }
        }
    }
}

fn hash_label(hasher: &mut KeyHasher, value: pg_sys::Oid) {
    // SAFETY: the value of an enum is the oid of its row in pg_enum; the row stays pinned until it is released.
    unsafe {
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::ENUMOID as i32, pg_sys::Datum::from(value));
        if row.is_null() {
            // A label that an uncommitted ALTER TYPE takes away again: its number identifies it as well.
            hasher.part(KeyPart::Int(i64::from(value.to_u32())));
            return;
        }
        let label = &(*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_enum>()).enumlabel;
        hasher.part(KeyPart::Text(&utf8(CStr::from_ptr(label.data.as_ptr()).to_bytes())));
        pg_sys::ReleaseSysCache(row);
    }
}
