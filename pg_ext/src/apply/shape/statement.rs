//! Saved statements, and how they are planned.

use crate::pg::backend::OfBackend;
use crate::pg::failure::Failure;
use pgrx::{FromDatum, pg_sys};
use std::cell::{Cell, OnceCell};
use std::ffi::CString;

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

/// A statement, parsed once and kept until it is dropped.
#[derive(Debug)]
pub(crate) struct Statement {
    plan: pg_sys::SPIPlanPtr,
    planning: Planning,
}

impl Statement {
    /// Parses a statement with parameters of these types; SPI must be connected.
    ///
    /// # Errors
    /// When SPI refuses it; errors in the statement itself are raised.
    pub(crate) fn new(text: &str, types: &[pg_sys::Oid], planning: Planning) -> Result<Statement, Failure> {
        let Ok(text) = CString::new(text) else {
            return Err(Failure::new(b"22021", "a statement cannot contain a zero byte"));
        };
        // SAFETY: SPI is connected, text and types outlive the call, and a kept plan belongs to the caller.
        unsafe {
            let plan = pg_sys::SPI_prepare_cursor(
                text.as_ptr(),
                types.len() as i32,
                types.as_ptr().cast_mut(),
                pg_sys::CURSOR_OPT_GENERIC_PLAN as i32,
            );
            if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
                return Err(Failure::new(b"XX000", "SPI could not prepare a statement"));
            }
            Ok(Statement { plan, planning })
        }
    }

    /// Runs the statement, in a snapshot of its own, and gives every row it returns to `each`.
    ///
    /// # Errors
    /// When SPI refuses it; what the statement runs into is raised.
    ///
    /// # Safety
    /// The arguments must be of the types that the statement was prepared with, SPI must be connected.
    pub(crate) unsafe fn run(
        &self,
        arguments: &[Option<pg_sys::Datum>],
        mut each: impl FnMut(&Row),
    ) -> Result<(), Failure> {
        let values: Vec<_> = arguments.iter().map(|argument| argument.unwrap_or(pg_sys::Datum::from(0))).collect();
        let nulls: Vec<_> =
            arguments.iter().map(|argument| if argument.is_some() { b' ' } else { b'n' } as std::ffi::c_char).collect();
        // SAFETY: the plan is kept until `self` is dropped; the caller vouches for the arguments. SPI_tuptable is that
        // of the statement just run, and lives until it is freed.
        unsafe {
            if self.planning != Planning::Free {
                self.plan_nested();
            }
            let (plan, values, nulls) = (self.plan, values.as_ptr().cast_mut(), nulls.as_ptr());
            let code = pg_sys::SPI_execute_plan(plan, values, nulls, false, 0);
            if code < 0 {
                return Err(Failure::new(b"XX000", format!("SPI answered {code} to a statement")));
            }
            let (rows, table) = (pg_sys::SPI_processed as usize, pg_sys::SPI_tuptable);
            if table.is_null() {
                return Ok(());
            }
            let mut row = Row::of((*table).tupdesc);
            for place in 0..rows {
                row.take(*(*table).vals.add(place));
                each(&row);
            }
            pg_sys::SPI_freetuptable(table);
        }
        Ok(())
    }

    /// Makes the plan, unless it is still good, while the planner is told what to do. It must not be told so while the
    /// statement runs, because the user's triggers plan statements of their own then.
    unsafe fn plan_nested(&self) {
        let _switches = Switches::turn();
        // SAFETY: the plan is kept and holds one statement; its cached plan is released at once, as the statement's
        // source keeps it.
        unsafe {
            let plan = pg_sys::SPI_plan_get_cached_plan(self.plan);
            if !plan.is_null() {
                pg_sys::ReleaseCachedPlan(plan, pg_sys::CurrentResourceOwner);
            }
        }
    }
}

impl Statement {
    /// How many bytes it takes, with its plan if it has been planned.
    fn size(&self) -> usize {
        // SAFETY: the plan is kept until `self` is dropped, and so are its sources, each with a context of its own; a plan that a
        // source holds has another one.
        unsafe {
            let sources = pg_sys::SPI_plan_get_plan_sources(self.plan);
            let count = if sources.is_null() { 0 } else { (*sources).length as usize };
            let sizes = (0..count).map(|place| {
                let source = (*(*sources).elements.add(place)).ptr_value.cast::<pg_sys::CachedPlanSource>();
                let plan = (*source).gplan;
                let of_plan = if plan.is_null() { 0 } else { pg_sys::MemoryContextMemAllocated((*plan).context, true) };
                of_plan + pg_sys::MemoryContextMemAllocated((*source).context, true)
            });
            sizes.sum()
        }
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: the plan was kept by us and nobody else frees it; a plan in use lives on until it is done.
        unsafe { pg_sys::SPI_freeplan(self.plan) };
    }
}

/// A statement that is prepared when it is first needed.
#[derive(Debug)]
pub(crate) struct Lazy {
    text: String,
    types: &'static [pg_sys::Oid],
    planning: Planning,
    statement: OnceCell<Statement>,
}

impl Lazy {
    /// How many bytes it takes by now.
    pub(super) fn size(&self) -> usize {
        self.text.len() + self.statement.get().map_or(0, Statement::size)
    }

    pub(super) fn new(text: String, types: &'static [pg_sys::Oid], planning: Planning) -> Lazy {
        Lazy { text, types, planning, statement: OnceCell::new() }
    }

    /// The statement; SPI must be connected.
    ///
    /// # Errors
    /// As [`Statement::new`].
    pub(crate) fn get(&self) -> Result<&Statement, Failure> {
        if let Some(statement) = self.statement.get() {
            return Ok(statement);
        }
        let statement = Statement::new(&self.text, self.types, self.planning)?;
        Ok(self.statement.get_or_init(|| statement))
    }
}

/// A row that a statement returned, taken apart.
pub(crate) struct Row {
    descriptor: pg_sys::TupleDesc,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Row {
    unsafe fn of(descriptor: pg_sys::TupleDesc) -> Row {
        // SAFETY: the descriptor of a table of rows that outlives this.
        let columns = unsafe { (*descriptor).natts } as usize;
        Row { descriptor, values: vec![pg_sys::Datum::from(0); columns], nulls: vec![true; columns] }
    }

    unsafe fn take(&mut self, tuple: pg_sys::HeapTuple) {
        // SAFETY: the tuple is of this descriptor, and both arrays have as many elements as it has columns.
        unsafe {
            pg_sys::heap_deform_tuple(tuple, self.descriptor, self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
        }
    }

    /// A column, counted from 0; `None` when it is null. It lives no longer than the row.
    pub(crate) fn datum(&self, column: usize) -> Option<pg_sys::Datum> {
        (!*self.nulls.get(column)?).then(|| self.values[column])
    }

    /// A column of a type that is passed by value, or copied.
    ///
    /// # Safety
    /// The column must be of that type.
    pub(crate) unsafe fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: the caller vouches for the type.
        unsafe { T::from_datum(self.datum(column)?, false) }
    }
}

/// The planner's switches as they were, turned back when dropped, also when an error passes through.
struct Switches {
    nested_loop: bool,
    hash_join: bool,
    merge_join: bool,
    index_scan: bool,
    memoize: bool,
    just_in_time: bool,
    hook: pg_sys::get_relation_info_hook_type,
}

impl Switches {
    fn turn() -> Switches {
        // SAFETY: these are plain variables of the backend, which has one thread.
        unsafe {
            let before = Switches {
                nested_loop: pg_sys::enable_nestloop,
                hash_join: pg_sys::enable_hashjoin,
                merge_join: pg_sys::enable_mergejoin,
                index_scan: pg_sys::enable_indexscan,
                memoize: pg_sys::enable_memoize,
                just_in_time: pg_sys::jit_enabled,
                hook: pg_sys::get_relation_info_hook,
            };
            pg_sys::enable_nestloop = true;
            pg_sys::enable_hashjoin = false;
            pg_sys::enable_mergejoin = false;
            pg_sys::enable_indexscan = true;
            // A row that comes out of a memo has not passed its condition again.
            pg_sys::enable_memoize = false;
            pg_sys::jit_enabled = false;
            PREVIOUS.set(before.hook);
            pg_sys::get_relation_info_hook = Some(pretend);
            before
        }
    }
}

impl Drop for Switches {
    fn drop(&mut self) {
        // SAFETY: as in `turn`.
        unsafe {
            pg_sys::enable_nestloop = self.nested_loop;
            pg_sys::enable_hashjoin = self.hash_join;
            pg_sys::enable_mergejoin = self.merge_join;
            pg_sys::enable_indexscan = self.index_scan;
            pg_sys::enable_memoize = self.memoize;
            pg_sys::jit_enabled = self.just_in_time;
            pg_sys::get_relation_info_hook = self.hook;
        }
    }
}

static PREVIOUS: OfBackend<Cell<pg_sys::get_relation_info_hook_type>> = OfBackend::new(Cell::new(None));

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn pretend(
    root: *mut pg_sys::PlannerInfo,
    relation: pg_sys::Oid,
    is_parent: bool,
    info: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: the planner calls this with what it has just filled in; the hook before ours takes the same arguments.
    unsafe {
        if let Some(previous) = PREVIOUS.get() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous(root, relation, is_parent, info));
        }
        (*info).tuples = (*info).tuples.max(PRETENDED_ROWS);
        (*info).pages = (*info).pages.max(PRETENDED_PAGES);
    }
}
