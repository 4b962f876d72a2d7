//! Types against columns: a row's bytes as a Rust value, a value as the fields of a patch, a key as its columns.
//!
//! ```text
//! schema     what is known of a cache's table: how it was described, and which columns the type's members are
//! layout     the members of a type, matched to columns; the description of a table
//! key        types that identify a row                          key_check  is a value that of its key?
//! row        a row's binary values -> a Rust type               fields     a Rust value <-> the fields of a patch
//! value      what can be cached                                 text       dates, times, bytes, JSON strings as texts
//! fit        can the members hold what their columns hold?          caught     panics of the types' own code
//! type_name  names of Rust types, for people
//! interval   lengths of time as members                   packed     documents as bytes
//! ```
//! Nothing here waits, or knows of a connection.

pub(crate) mod caught;
pub(crate) mod fields;
pub(crate) mod fit;
pub mod interval;
pub(crate) mod key;
pub(crate) mod key_check;
pub(crate) mod layout;
#[cfg(feature = "packed")]
pub(crate) mod packed;
pub(crate) mod row;
pub(crate) mod schema;
pub(crate) mod text;
pub(crate) mod type_name;
pub(crate) mod value;
