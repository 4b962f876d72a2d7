//! Isolates patches that Postgres refuses, so that one of them neither blocks nor loses the others.

use crate::pg::failure::Failure;
use crate::pg::sqlstate;
use cache_sync_core::sqlstate::{Fault, is_of_definitions};
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_sys};
use std::panic::AssertUnwindSafe;

/// A row that a policy does not allow has the SQLSTATE of a missing privilege; only the function in which Postgres raises
/// it tells one from the other, whatever language messages are in.
const POLICY_CHECK: &str = "ExecWithCheckOptions";

/// Where PL/pgSQL raises what a user's trigger or function says about a row, whatever code the user gave it.
const RAISE: &str = "exec_stmt_raise";

/// Why Postgres refused a patch.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) sqlstate: [u8; 5],
    pub(crate) message: String,
    /// Which constraint was violated, where the error says so.
    pub(crate) constraint: Option<Box<str>>,
    /// The code alone does not say that it is the patch's fault.
    pub(crate) is_suspicion: bool,
    /// It came when deferred constraints were checked: the caller's transaction may have violated one before.
    pub(crate) is_deferred: bool,
}

/// Which errors some patch is to blame for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Those whose codes say so.
    ByCode,
    /// Any that does not pass by itself: malformed PostGIS and hstore values, `plpy.error`, a trigger that meets what is not there.
    /// Whether it was the patch shows when others are applied.
    Any,
    /// Even a missing right: it is only to be seen whether something can be done.
    Probe,
}

impl Refusal {
    /// Whether a value can have brought it about, rather than what the table or its triggers are made of.
    pub(crate) fn may_be_of_a_value(&self) -> bool {
        !is_of_definitions(text(&self.sqlstate))
    }
}

impl Blame {
    /// Whether the error may be a patch's; and whether that is no more than a suspicion.
    fn of(self, sqlstate: [u8; 5], raised_in: Option<&str>) -> Option<bool> {
        if is_of_the_patch(sqlstate, raised_in) {
            return Some(false);
        }
        let fault = Fault::of(text(&sqlstate));
        let is_suspicion = match self {
            Blame::ByCode => false,
            Blame::Any => fault.may_be_of_a_row(),
            Blame::Probe => fault.may_be_of_a_row() || fault == Fault::Table,
        };
        is_suspicion.then_some(true)
    }
}

fn is_of_the_patch(sqlstate: [u8; 5], raised_in: Option<&str>) -> bool {
    let fault = Fault::of(text(&sqlstate));
    fault.is_of_a_row()
        || match raised_in {
            Some(POLICY_CHECK) => sqlstate == *b"42501",
            Some(RAISE) => !fault.passes(),
            _ => false,
        }
}

/// An SQLSTATE is five letters and digits.
fn text(sqlstate: &[u8; 5]) -> &str {
    std::str::from_utf8(sqlstate).unwrap_or_default()
}

/// Runs `body` in a subtransaction, which it may give up by returning `None`. An error that some patch brought undoes it
/// and comes back as a refusal; all others go on.
///
/// # Errors
/// Those of `body`, which undo it too.
pub(crate) fn attempt<T>(
    blame: Blame,
    body: impl FnOnce() -> Result<Option<T>, Failure>,
) -> Result<Result<Option<T>, Refusal>, Failure> {
    attempt_unless(blame, None, body)
}

/// The same, but an error of this code gives it up, too.
///
/// # Errors
/// As [`attempt`].
pub(crate) fn attempt_unless<T>(
    blame: Blame,
    gives_up: Option<&[u8; 5]>,
    body: impl FnOnce() -> Result<Option<T>, Failure>,
) -> Result<Result<Option<T>, Refusal>, Failure> {
    let subtransaction = Subtransaction::begin();
    let result =
        PgTryBuilder::new(AssertUnwindSafe(|| Ok(body()))).catch_others(|caught| Err(Box::new(caught))).execute();
    if let Ok(Ok(Some(value))) = result {
        subtransaction.release();
        return Ok(Ok(Some(value)));
    }
    // Also before an error that goes on: Postgres takes a subtransaction left open for a savepoint.
    subtransaction.roll_back();
    match result {
        Ok(ended) => ended.map(Ok),
        Err(caught) => {
            let (sqlstate, raised_in) = (sqlstate::of(&caught), sqlstate::report(&caught).function_name());
            let is_panic = matches!(*caught, CaughtError::RustPanic { .. });
            if !is_panic && gives_up == Some(&sqlstate) {
                return Ok(Ok(None));
            }
            let Some(is_suspicion) = blame.of(sqlstate, raised_in).filter(|_| !is_panic) else { caught.rethrow() };
            let message = sqlstate::report(&caught).message().to_owned();
            let constraint = sqlstate::names_of(&caught).constraint;
            Ok(Err(Refusal { sqlstate, message, constraint, is_suspicion, is_deferred: false }))
        }
    }
}

/// A subtransaction under way, and what has to be restored after it.
struct Subtransaction {
    context: pg_sys::MemoryContext,
    owner: pg_sys::ResourceOwner,
}

impl Subtransaction {
    fn begin() -> Subtransaction {
        // SAFETY: we are in a function called in a transaction, where subtransactions may be begun; memory goes on
        // being allocated where it was.
        unsafe {
            let before = Subtransaction { context: pg_sys::CurrentMemoryContext, owner: pg_sys::CurrentResourceOwner };
            pg_sys::BeginInternalSubTransaction(std::ptr::null());
            pg_sys::CurrentMemoryContext = before.context;
            before
        }
    }

    fn release(self) {
        // SAFETY: the subtransaction begun above is the current one, as those inside have ended.
        unsafe {
            pg_sys::ReleaseCurrentSubTransaction();
            pg_sys::CurrentMemoryContext = self.context;
            pg_sys::CurrentResourceOwner = self.owner;
        }
    }

    fn roll_back(self) {
        // SAFETY: as in `release`; after an error, pgrx has emptied Postgres' error state.
        unsafe {
            pg_sys::CurrentMemoryContext = self.context;
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
            pg_sys::CurrentMemoryContext = self.context;
            pg_sys::CurrentResourceOwner = self.owner;
        }
    }
}

/// Checks deferred constraints now, and those of the rest of the transaction at once, so that their violation belongs
/// to the patches that were just applied.
pub(crate) fn make_constraints_immediate() {
    // SAFETY: a zeroed statement with its tag means ALL IMMEDIATE: no names, not deferred. Triggers that fire run in
    // the current subtransaction.
    unsafe {
        let statement = pg_sys::palloc0(size_of::<pg_sys::ConstraintsSetStmt>()).cast::<pg_sys::ConstraintsSetStmt>();
        (*statement).type_ = pg_sys::NodeTag::T_ConstraintsSetStmt;
        pg_sys::AfterTriggerSetState(statement);
    }
}
