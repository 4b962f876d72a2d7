//! A column of a row that is read from JSON.

use crate::pg::descriptor;
use crate::pg::failure::Failure;
use crate::pg::value::{self, plain_bytes};
use crate::rules::jsonb;
use cache_sync_core::json::Json;
use pgrx::pg_sys;
use std::borrow::Cow;
use std::ffi::{CString, c_char};

pub(super) struct Column {
    pub(super) name: String,
    /// A null must be shown to its checks.
    pub(super) is_domain: bool,
    /// The value's own text is read, also of strings.
    is_of_json: bool,
    reading: Reading,
    input: pg_sys::FmgrInfo,
    parameter: pg_sys::Oid,
    modifier: i32,
}

/// What is made of a value without asking the type, where that is possible.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Int4,
    Int8,
    Bool,
    Text,
    Json,
    Jsonb,
    Other,
}

impl Column {
    /// # Errors
    /// When the type is an array or a composite.
    ///
    /// # Safety
    /// The descriptor must have so many columns.
    pub(super) unsafe fn new(descriptor: pg_sys::TupleDesc, place: usize) -> Result<Column, Failure> {
        // SAFETY: the caller vouches for the place; the type is in the catalogs, and what is looked up lives in the current
        // memory context, which is that of the call.
        unsafe {
            let attribute = descriptor::column(descriptor, place as i32);
            let (oid, modifier) = ((*attribute).atttypid, (*attribute).atttypmod);
            let name = pgrx::name_data_to_str(&(*attribute).attname).to_owned();
            let base = pg_sys::getBaseType(oid);
            if pg_sys::get_element_type(base) != pg_sys::InvalidOid || pg_sys::type_is_rowtype(base) {
                return Err(Failure::new(b"0A000", format!("the column \"{name}\" is an array or a composite")));
            }
            let reading = match oid {
                pg_sys::INT4OID => Reading::Int4,
                pg_sys::INT8OID => Reading::Int8,
                pg_sys::BOOLOID => Reading::Bool,
                pg_sys::TEXTOID => Reading::Text,
                pg_sys::VARCHAROID if modifier < 0 => Reading::Text,
                pg_sys::JSONOID => Reading::Json,
                pg_sys::JSONBOID => Reading::Jsonb,
                _ => Reading::Other,
            };
            let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
            let mut input = pg_sys::FmgrInfo::default();
            pg_sys::getTypeInputInfo(oid, &mut function, &mut parameter);
            pg_sys::fmgr_info_cxt(function, &mut input, pg_sys::CurrentMemoryContext);
            let is_of_json = base == pg_sys::JSONOID || base == pg_sys::JSONBOID;
            Ok(Column { name, is_domain: base != oid, is_of_json, reading, input, parameter, modifier })
        }
    }

    /// The value as the column has it, in memory of the current context; `None` is null.
    ///
    /// # Errors
    /// What the type does not take is raised by Postgres.
    pub(super) fn value(&mut self, value: Json<'_>) -> Result<Option<pg_sys::Datum>, Failure> {
        let text = value.text();
        if text == b"null" {
            return if self.is_domain { self.input(None) } else { Ok(None) };
        }
        let quick = match self.reading {
            Reading::Int4 => value.int8().and_then(|number| i32::try_from(number).ok()).map(pg_sys::Datum::from),
            Reading::Int8 => value.int8().map(pg_sys::Datum::from),
            Reading::Bool => match text {
                b"true" => Some(pg_sys::Datum::from(true)),
                b"false" => Some(pg_sys::Datum::from(false)),
                _ => None,
            },
            Reading::Text => Some(value::bytea(&unquoted(text)?)),
            Reading::Json => {
                if jsonb::has_bad_escapes(text) {
                    // Postgres says what is wrong with it: nobody could read the row.
                    value::jsonb(&String::from_utf8_lossy(text))?;
                }
                Some(value::bytea(text))
            }
            Reading::Jsonb => Some(match jsonb::of_text(value) {
                Some(container) => value::bytea(&container),
                None => value::jsonb(&String::from_utf8_lossy(text))?,
            }),
            Reading::Other => None,
        };
        match quick {
            Some(datum) => Ok(Some(datum)),
            None if self.is_of_json => self.input(Some(text)),
            None => self.input(Some(&unquoted(text)?)),
        }
    }

    /// What the type's input function makes of a text.
    fn input(&mut self, text: Option<&[u8]>) -> Result<Option<pg_sys::Datum>, Failure> {
        let text = text.map(CString::new).transpose();
        let text = text.map_err(|_| Failure::new(b"22021", "a text cannot contain a zero byte"))?;
        let start = text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr()).cast::<c_char>().cast_mut();
        // SAFETY: the function is the type's own; it reads a string that ends in a zero byte, or, for nulls, none. Errors
        // are raised.
        let datum = unsafe { pg_sys::InputFunctionCall(&mut self.input, start, self.parameter, self.modifier) };
        Ok(text.map(|_| datum))
    }
}

/// A value's text: a string without its quotation marks and escapes.
fn unquoted(text: &[u8]) -> Result<Cow<'_, [u8]>, Failure> {
    if text.first() != Some(&b'"') {
        return Ok(Cow::Borrowed(text));
    }
    if let Some(string) = jsonb::string(text) {
        return Ok(string);
    }
    // Postgres knows which escapes it takes.
    let scalar = value::jsonb(&String::from_utf8_lossy(text))?;
    // SAFETY: a jsonb, just made.
    let container = unsafe { plain_bytes(scalar) };
    let string = jsonb::scalar_string(container).ok_or_else(|| Failure::new(b"XX000", "a string is none to jsonb"))?;
    Ok(Cow::Owned(string.to_vec()))
}
