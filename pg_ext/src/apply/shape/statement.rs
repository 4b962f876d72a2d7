//! Saved statements.

use super::planning::{self, Planning};
use crate::pg::failure::Failure;
use pgrx::{FromDatum, pg_sys};
use std::cell::OnceCell;
use std::ffi::CString;

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
            let _planned = (self.planning != Planning::Free).then(|| planning::nested(self.text()));
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

    /// Its text, as the planner is given it.
    fn text(&self) -> *const std::ffi::c_char {
        // SAFETY: the plan is kept until `self` is dropped, and so is its only source.
        unsafe {
            let sources = pg_sys::SPI_plan_get_plan_sources(self.plan);
            (*(*(*sources).elements).ptr_value.cast::<pg_sys::CachedPlanSource>()).query_string
        }
    }

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
