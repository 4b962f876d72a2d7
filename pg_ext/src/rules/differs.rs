//! Whether two values differ, whatever their type and without asking the caller's search_path for an operator.

use crate::call::argument;
use crate::call::function::sql_functions;
use crate::pg::value;
use pgrx::pg_sys;

/// How values of the argument's type are stored; kept with the call.
struct Storage {
    is_by_value: bool,
    length: i16,
}

sql_functions! {
    /// `differs(a anyelement, b anyelement) -> boolean`: null is the same as null.
    fn differs / pg_finfo_differs(fcinfo) {
        // SAFETY: the install script declares two arguments of one type.
        let differs = unsafe {
            match (argument::datum(fcinfo, 0), argument::datum(fcinfo, 1)) {
                (Some(a), Some(b)) => {
                    let storage = storage(fcinfo);
                    !value::is_same(a, b, storage.is_by_value, storage.length)
                }
                (a, b) => a.is_some() != b.is_some(),
            }
        };
        Ok(pg_sys::Datum::from(differs))
    }
}

/// # Safety
/// `fcinfo` must be what Postgres called the function with.
unsafe fn storage<'a>(fcinfo: pg_sys::FunctionCallInfo) -> &'a Storage {
    // SAFETY: `flinfo` belongs to this place in the query; its `fn_extra` is ours and null at first, and what is
    // allocated in `fn_mcxt` lives as long.
    unsafe {
        let info = (*fcinfo).flinfo;
        if (*info).fn_extra.is_null() {
            let storage = pg_sys::MemoryContextAlloc((*info).fn_mcxt, size_of::<Storage>()).cast::<Storage>();
            let (mut length, mut is_by_value) = (0, false);
            pg_sys::get_typlenbyval(pg_sys::get_fn_expr_argtype(info, 0), &mut length, &mut is_by_value);
            storage.write(Storage { is_by_value, length });
            (*info).fn_extra = storage.cast();
        }
        &*(*info).fn_extra.cast::<Storage>()
    }
}
