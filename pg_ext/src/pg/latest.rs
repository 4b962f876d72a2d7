//! Statements that see what is committed by now, whatever the transaction's isolation level.
//!
//! DDL sees the catalogs as they are, in a REPEATABLE READ transaction too, and so must what is noted about it. Postgres checks
//! foreign keys in the same way: under REPEATABLE READ the transaction's own snapshot would miss tables that others have attached
//! since, and whoever updates what others have updated since is refused (40001).

use super::backend::OfBackend;
use super::failure::Failure;
use pgrx::{Spi, pg_sys};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CString, c_char};

/// Most plans that are kept: more than there are statements of ours.
const PLANS_MAX: usize = 64;

/// The plans of the statements, by their texts.
static PLANS: OfBackend<RefCell<BTreeMap<String, pg_sys::SPIPlanPtr>>> = OfBackend::new(RefCell::new(BTreeMap::new()));

/// Runs one statement, whose `$1` is an integer, with the rights of the current user. Functions that it calls see the same as it does
/// if they are STABLE. Answers the first column of the first row, a jsonb, in the caller's memory; `None` for null, and where there is
/// no row.
///
/// # Errors
/// When SPI refuses the statement, or it answers something else; what it runs into is raised.
pub(crate) fn first_value(text: &str, argument: i32) -> Result<Option<pg_sys::Datum>, Failure> {
    Spi::connect_mut(|_| {
        let plan = plan(text)?;
        let (value, not_null) = (pg_sys::Datum::from(argument), b' ' as c_char);
        // SAFETY: SPI is connected and the plan kept; it takes one integer. SPI copies the snapshot before anything else could ask
        // for a later one. SPI_tuptable is that of the statement just run.
        unsafe {
            let code = pg_sys::SPI_execute_snapshot(
                plan,
                (&raw const value).cast_mut(),
                &raw const not_null,
                pg_sys::GetLatestSnapshot(),
                std::ptr::null_mut(),
                false,
                true,
                0,
            );
            if code < 0 {
                return Err(Failure::new(b"0A000", format!("SPI answered {code} to a statement")));
            }
            let table = pg_sys::SPI_tuptable;
            if table.is_null() || pg_sys::SPI_processed == 0 {
                return Ok(None);
            }
            if pg_sys::SPI_gettypeid((*table).tupdesc, 1) != pg_sys::JSONBOID {
                return Err(Failure::new(b"42804", "the statement does not answer with jsonb"));
            }
            let mut is_null = false;
            let value = pg_sys::SPI_getbinval(*(*table).vals, (*table).tupdesc, 1, &mut is_null);
            Ok((!is_null).then(|| pg_sys::SPI_datumTransfer(value, false, -1)))
        }
    })
}

fn plan(text: &str) -> Result<pg_sys::SPIPlanPtr, Failure> {
    if let Some(plan) = PLANS.borrow().get(text) {
        return Ok(*plan);
    }
    let Ok(c_text) = CString::new(text) else {
        return Err(Failure::new(b"22021", "a statement cannot contain a zero byte"));
    };
    let mut argument = pg_sys::INT4OID;
    // SAFETY: SPI is connected, text and types outlive the call, and a kept plan belongs to the caller.
    let plan = unsafe { pg_sys::SPI_prepare(c_text.as_ptr(), 1, &raw mut argument) };
    let is_kept = PLANS.borrow().len() < PLANS_MAX;
    // SAFETY: a plan that has just been made; one that is not kept goes with SPI's connection.
    if plan.is_null() || (is_kept && unsafe { pg_sys::SPI_keepplan(plan) } != 0) {
        return Err(Failure::new(b"0A000", "SPI could not prepare a statement"));
    }
    if is_kept {
        PLANS.borrow_mut().insert(text.to_owned(), plan);
    }
    Ok(plan)
}
