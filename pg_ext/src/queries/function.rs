//! `dependencies()`.

use super::statement;
use crate::call::answer;
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::pg::failure::Failure;
use crate::pg::{sqlstate, value};
use std::ffi::CString;

sql_functions! {
    /// `dependencies(sql text, parameter_types regtype[]) -> jsonb`
    fn dependencies / pg_finfo_dependencies(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares these arguments; a regtype is an oid.
            let (text, types) = unsafe { (argument::<String>(fcinfo, 0), argument::elements(fcinfo, 1)) };
            let text = CString::new(text.ok_or_else(|| argument::null("sql"))?)
                .map_err(|_| Failure::new(b"22021", "a text cannot contain a zero byte"))?;
            let read = serde_json::to_string(&statement::read(&text, types))
                .map_err(|error| Failure::new(b"XX000", error.to_string()))?;
            answer::value(Some(value::jsonb(&read)?))
        })
    }
}
