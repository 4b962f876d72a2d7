//! How saved statements are planned.
//!
//! A plan may become worthless at any moment, also while it is being made, and is made again when it is used. So nobody tells the planner
//! ahead what it is to do: it asks, each time.

use crate::pg::backend::OfBackend;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{c_char, c_int};

/// How many rows a table has while a nested loop over it is planned. The plan is kept while the table grows, and with
/// an estimate of one row the table might become the outer side, which loses the order of locks and, later, all speed.
const PRETENDED_ROWS: f64 = 1e7;
const PRETENDED_PAGES: pg_sys::BlockNumber = 100_000;

/// How a statement is to be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planning {
    /// As the planner likes.
    Free,
    /// By nested loop, with the patches as outer side, so that rows are locked in their order.
    Nested,
    /// By index, however small the table seems. That takes the same of the planner.
    ByIndex,
}

/// The text, by its place in memory, of the statement that is planned as nested loop for now.
static NESTED: OfBackend<Cell<*const c_char>> = OfBackend::new(Cell::new(std::ptr::null()));

/// The planner's switches as they were, while such a statement is being planned.
static TURNED: OfBackend<Cell<Option<Switches>>> = OfBackend::new(Cell::new(None));

/// Until this is dropped, the statement of this text is planned as nested loop; no other one is, such as those of the user's triggers.
pub(super) fn nested(text: *const c_char) -> Nested {
    Nested { before: NESTED.replace(text), was_turned: TURNED.get().is_some() }
}

/// What [`nested`] has begun.
pub(super) struct Nested {
    before: *const c_char,
    was_turned: bool,
}

impl Drop for Nested {
    fn drop(&mut self) {
        NESTED.set(self.before);
        if !self.was_turned {
            // An error has left the planner.
            turn_back();
        }
    }
}

static PREVIOUS_PLANNER: OfBackend<Cell<pg_sys::planner_hook_type>> = OfBackend::new(Cell::new(None));
static PREVIOUS_INFO: OfBackend<Cell<pg_sys::get_relation_info_hook_type>> = OfBackend::new(Cell::new(None));

/// Has the planner ask. Once, when the library is loaded.
pub(crate) fn install_hooks() {
    // SAFETY: plain variables of the backend, which has one thread.
    unsafe {
        PREVIOUS_PLANNER.set(pg_sys::planner_hook);
        pg_sys::planner_hook = Some(plan);
        PREVIOUS_INFO.set(pg_sys::get_relation_info_hook);
        pg_sys::get_relation_info_hook = Some(pretend);
    }
}

unsafe extern "C-unwind" {
    fn standard_planner(
        query: *mut pg_sys::Query,
        text: *const c_char,
        options: c_int,
        parameters: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
}

/// Every statement of the backend comes by here. An error jumps over this, which has nothing to drop: going through Rust, it would lose what
/// pgrx does not know of errors.
unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    let has_turned = !text.is_null() && NESTED.get() == text && turn();
    // SAFETY: these are the planner's own arguments; the hook before ours takes the same.
    let planned = unsafe {
        match PREVIOUS_PLANNER.get() {
            Some(previous) => previous(query, text, options, parameters),
            None => standard_planner(query, text, options, parameters),
        }
    };
    if has_turned {
        turn_back();
    }
    planned
}

/// The planner calls this of every table, for every statement of the backend: as [`plan`], it has nothing to drop.
unsafe extern "C-unwind" fn pretend(
    root: *mut pg_sys::PlannerInfo,
    relation: pg_sys::Oid,
    is_parent: bool,
    info: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: the planner calls this with what it has just filled in; the hook before ours takes the same arguments.
    unsafe {
        if let Some(previous) = PREVIOUS_INFO.get() {
            previous(root, relation, is_parent, info);
        }
        if TURNED.get().is_some() {
            (*info).tuples = (*info).tuples.max(PRETENDED_ROWS);
            (*info).pages = (*info).pages.max(PRETENDED_PAGES);
        }
    }
}

/// The planner's switches.
#[derive(Clone, Copy)]
struct Switches {
    nested_loop: bool,
    hash_join: bool,
    merge_join: bool,
    index_scan: bool,
    memoize: bool,
    just_in_time: bool,
}

impl Switches {
    const NESTED: Switches = Switches {
        nested_loop: true,
        hash_join: false,
        merge_join: false,
        index_scan: true,
        // A row that comes out of a memo has not passed its condition again.
        memoize: false,
        just_in_time: false,
    };

    fn now() -> Switches {
        // SAFETY: these are plain variables of the backend, which has one thread.
        unsafe {
            Switches {
                nested_loop: pg_sys::enable_nestloop,
                hash_join: pg_sys::enable_hashjoin,
                merge_join: pg_sys::enable_mergejoin,
                index_scan: pg_sys::enable_indexscan,
                memoize: pg_sys::enable_memoize,
                just_in_time: pg_sys::jit_enabled,
            }
        }
    }

    fn set(self) {
        // SAFETY: as in `now`.
        unsafe {
            pg_sys::enable_nestloop = self.nested_loop;
            pg_sys::enable_hashjoin = self.hash_join;
            pg_sys::enable_mergejoin = self.merge_join;
            pg_sys::enable_indexscan = self.index_scan;
            pg_sys::enable_memoize = self.memoize;
            pg_sys::jit_enabled = self.just_in_time;
        }
    }
}

/// Turns the switches, unless they are; says whether it has.
fn turn() -> bool {
    let turns = TURNED.get().is_none();
    if turns {
        TURNED.set(Some(Switches::now()));
        Switches::NESTED.set();
    }
    turns
}

fn turn_back() {
    if let Some(before) = TURNED.take() {
        before.set();
    }
}
