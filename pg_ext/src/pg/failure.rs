//! How functions called from SQL fail.
//!
//! Postgres' errors travel through Rust as panics that pgrx turns back into errors, but pgrx knows only the SQLSTATEs
//! that Postgres defines. Functions that answer with SQLSTATEs of our own therefore return a [`Failure`], which is
//! raised when no Rust frame with anything to drop is left.

use super::backend::OfBackend;
use pgrx::{PgLogLevel, pg_sys};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int};

/// An error with any SQLSTATE.
#[derive(Debug)]
pub(crate) struct Failure {
    sqlstate: [u8; 5],
    message: Box<str>,
    detail: Option<Box<str>>,
    log_detail: Option<Box<str>>,
    hint: Option<Box<str>>,
    origin: Option<Origin>,
    names: Option<Box<Names>>,
}

/// What an error is about, as far as it says: parts of it that drivers hand out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) schema: Option<Box<str>>,
    pub(crate) table: Option<Box<str>>,
    pub(crate) column: Option<Box<str>>,
    pub(crate) datatype: Option<Box<str>>,
    pub(crate) constraint: Option<Box<str>>,
}

impl Names {
    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        let Names { schema, table, column, datatype, constraint } = self;
        [schema, table, column, datatype, constraint].into_iter().any(Option::is_some)
    }
}

/// Where in Postgres an error arose: some errors can be told from others only by that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    file: &'static CStr,
    line: u32,
    function: Option<&'static CStr>,
}

impl Origin {
    pub(crate) fn new(file: &str, line: u32, function: Option<&str>) -> Origin {
        Origin { file: kept(file), line, function: function.map(kept) }
    }
}

/// Postgres keeps pointers to these names, which it takes for constants. There are as many as places that raise errors.
fn kept(name: &str) -> &'static CStr {
    static NAMES: OfBackend<RefCell<BTreeSet<&'static CStr>>> = OfBackend::new(RefCell::new(BTreeSet::new()));
    let name = CString::new(name.replace('\0', "")).unwrap_or_default();
    let mut names = NAMES.borrow_mut();
    if let Some(known) = names.get(&*name) {
        return known;
    }
    let name = Box::leak(name.into_boxed_c_str());
    names.insert(name);
    name
}

impl Failure {
    /// A failure that says `message`.
    pub(crate) fn new(sqlstate: &[u8; 5], message: impl Into<String>) -> Failure {
        Failure {
            sqlstate: *sqlstate,
            message: message.into().into(),
            detail: None,
            log_detail: None,
            hint: None,
            origin: None,
            names: None,
        }
    }

    /// Its SQLSTATE.
    pub(crate) fn sqlstate(&self) -> [u8; 5] {
        self.sqlstate
    }

    /// What it says.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into().into());
        self
    }

    /// Adds particulars.
    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Failure {
        self.detail = Some(detail.into().into());
        self
    }

    /// Adds particulars for the server's log only, instead of those for the client.
    #[must_use]
    pub(crate) fn log_detail(mut self, detail: impl Into<String>) -> Failure {
        self.log_detail = Some(detail.into().into());
        self
    }

    /// Says where it arose.
    #[must_use]
    pub(crate) fn from(mut self, origin: Origin) -> Failure {
        self.origin = Some(origin);
        self
    }

    /// Says what it is about.
    #[must_use]
    pub(crate) fn about(mut self, names: Names) -> Failure {
        self.names = names.any().then(|| Box::new(names));
        self
    }

    /// The library was not preloaded, on a server before PostgreSQL 17, which gives shared memory to no other: there is no ring.
    pub(crate) fn not_preloaded() -> Failure {
        Failure::new(b"CS006", "cache_sync is not preloaded")
            .hint("Add cache_sync to shared_preload_libraries and restart the server.")
    }

    /// The failure as Postgres keeps errors, in memory that Postgres owns.
    pub(crate) fn into_error_data(self, level: PgLogLevel) -> *mut pg_sys::ErrorData {
        let code = self.sqlstate.iter().rev().fold(0, |code, byte| (code << 6) | i32::from((byte - b'0') & 0x3f));
        // SAFETY: palloc0 returns zeroed memory of that size or raises an error; all zeroes is a valid ErrorData, which
        // is nothing but numbers and pointers that may be null.
        unsafe {
            let data = pg_sys::palloc0(size_of::<pg_sys::ErrorData>()).cast::<pg_sys::ErrorData>();
            (*data).elevel = level as c_int;
            (*data).sqlerrcode = code;
            (*data).message = in_postgres_memory(Some(self.message));
            (*data).detail = in_postgres_memory(self.detail);
            (*data).detail_log = in_postgres_memory(self.log_detail);
            (*data).hint = in_postgres_memory(self.hint);
            let Names { schema, table, column, datatype, constraint } = *self.names.unwrap_or_default();
            (*data).schema_name = in_postgres_memory(schema);
            (*data).table_name = in_postgres_memory(table);
            (*data).column_name = in_postgres_memory(column);
            (*data).datatype_name = in_postgres_memory(datatype);
            (*data).constraint_name = in_postgres_memory(constraint);
            if let Some(origin) = self.origin {
                (*data).filename = origin.file.as_ptr();
                (*data).lineno = origin.line as c_int;
                (*data).funcname = origin.function.map_or(std::ptr::null(), CStr::as_ptr);
            }
            data
        }
    }
}

fn in_postgres_memory(text: Option<Box<str>>) -> *mut c_char {
    match text.map(|text| CString::new(text.replace('\0', ""))) {
        // SAFETY: pstrdup copies a string that ends in a zero byte into the current memory context.
        Some(Ok(text)) => unsafe { pg_sys::pstrdup(text.as_ptr()) },
        _ => std::ptr::null_mut(),
    }
}

/// Raises an error that [`Failure::into_error_data`] made.
///
/// # Safety
/// It leaves by a long jump: no frame between here and Postgres may have anything to drop.
pub(crate) unsafe fn throw(error: *mut pg_sys::ErrorData) -> ! {
    unsafe extern "C-unwind" {
        fn ThrowErrorData(edata: *mut pg_sys::ErrorData);
    }
    // SAFETY: `error` is a whole ErrorData of level ERROR, for which ThrowErrorData does not return; the caller
    // vouches for the frames in between.
    unsafe { ThrowErrorData(error) };
    unreachable!("ThrowErrorData returned from an error")
}
