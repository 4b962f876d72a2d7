//! The attached tables that patches go to, with what was compiled for them: kept until the table, one of its partitions or one of its
//! rules changes.

use super::by_key;
use super::compiled::Compiled;
use super::layout::Layout;
use super::operation::Shape;
use super::planning::Planning;
use super::statement::{Lazy, Statement};
use crate::pg::backend::{self, OfBackend};
use crate::pg::failure::Failure;
use crate::pg::rights::{may, may_write};
use crate::ring::hlc;
use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// How many shapes a backend keeps compiled, of all tables.
const SHAPES_MAX: usize = 100;
/// How many bytes they may take, when another one comes.
const SHAPES_BYTES_MAX: usize = 16 << 20;
/// How many tables a backend keeps.
const TARGETS_MAX: usize = 64;

/// An attached table, with what was compiled for it.
#[derive(Debug)]
pub(crate) struct Target {
    table: pg_sys::Oid,
    pub(crate) layout: Layout,
    /// `($1 array of arrays of patches) -> (place)`: locks their rows in order.
    pub(crate) lock: Lazy,
    /// `($1 array of arrays of patches) -> (place)` of one whose row has expired.
    pub(crate) expired: Option<Lazy>,
    /// `($1 array of arrays of patches)`: deletes those of their rows that have expired.
    pub(crate) expire: Option<Lazy>,
    /// `-> (place)` in the order of the keys
    pub(crate) order: Lazy,
    /// `-> (place)` of a patch whose key another one has
    pub(crate) duplicate: Lazy,
    /// `($1 array of one patch) -> (row)`
    pub(crate) row: Lazy,
    /// `($1 array of one patch) -> (newest stamp in the row)`, where rows have stamps
    newest: Option<Lazy>,
    shapes: RefCell<HashMap<Shape, (Rc<Compiled>, Use)>>,
    is_stale: Cell<bool>,
    used: Cell<Use>,
}

/// When something was used last: the larger, the later.
type Use = u64;

const PARTS: &[pg_sys::Oid] = &[pg_sys::JSONARRAYOID];
const PART: &[pg_sys::Oid] = &[pg_sys::JSONOID];

impl Target {
    fn new(table: pg_sys::Oid, layout: Layout) -> Target {
        use Planning::{Free, Nested};
        Target {
            table,
            lock: Lazy::new(by_key::lock(&layout), PARTS, Nested),
            expired: by_key::expired(&layout).map(|text| Lazy::new(text, PARTS, Nested)),
            expire: by_key::expire(&layout).map(|text| Lazy::new(text, PARTS, Nested)),
            order: Lazy::new(by_key::order(&layout), PARTS, Free),
            duplicate: Lazy::new(by_key::duplicate(&layout), PARTS, Free),
            row: Lazy::new(by_key::row(&layout), PART, Nested),
            newest: by_key::newest(&layout).map(|text| Lazy::new(text, PART, Nested)),
            layout,
            shapes: RefCell::default(),
            is_stale: Cell::new(false),
            used: Cell::new(use_now()),
        }
    }

    /// The stamp of a patch that is made now, over whatever its row has. A server's clock that ran ahead has left stamps that are
    /// still to come.
    ///
    /// # Errors
    /// When SPI refuses a statement.
    ///
    /// # Safety
    /// `rows` must be a json array of one patch. SPI must be connected.
    pub(crate) unsafe fn stamp_now(&self, rows: pg_sys::Datum) -> Result<i64, Failure> {
        let mut newest = 0;
        if let Some(statement) = &self.newest {
            // SAFETY: the caller vouches for the argument; the statement answers with a bigint.
            unsafe { statement.get()?.run(&[Some(rows)], |row| newest = row.get(0).unwrap_or(0))? };
        }
        Ok(hlc::next_above(newest))
    }

    /// `($1 array of arrays of patches)`: updates their rows, but changes nothing in them. It is rarely needed, and not kept.
    ///
    /// # Errors
    /// When SPI refuses the statement.
    pub(crate) fn touch(&self, column: &str) -> Result<Statement, Failure> {
        Statement::new(&by_key::touch(&self.layout, column), PARTS, Planning::Nested)
    }

    /// Whether functions of the user's are compiled into its statements.
    fn calls_functions(&self) -> bool {
        let by_rule = self.layout.fields.iter().any(|field| field.function.is_some());
        // A patch may have been made under a rule of before. Where shapes are being compiled, nobody can say.
        by_rule || self.shapes.try_borrow().map_or(true, |shapes| shapes.keys().any(|shape| shape.calls_functions()))
    }

    /// Whether the caller may lock rows of the table.
    pub(crate) fn may_lock(&self) -> bool {
        may(self.table, pg_sys::ACL_UPDATE as pg_sys::AclMode)
    }

    /// The compiled form of a shape.
    ///
    /// # Errors
    /// When the shape names a field that is not there or cannot be written.
    pub(crate) fn compile(&self, shape: &Shape) -> Result<Rc<Compiled>, Failure> {
        if let Some((compiled, used)) = self.shapes.borrow_mut().get_mut(shape) {
            *used = use_now();
            return Ok(Rc::clone(compiled));
        }
        let compiled = Rc::new(Compiled::new(&self.layout, shape)?);
        make_room_for_shape();
        self.shapes.borrow_mut().insert(shape.clone(), (Rc::clone(&compiled), use_now()));
        Ok(compiled)
    }
}

fn use_now() -> Use {
    USES.set(USES.get() + 1);
    USES.get()
}

/// Lets the shapes go that were not used for longest, of whatever table, until another one may come. Whoever works with one still has it.
fn make_room_for_shape() {
    let targets = TARGETS.borrow();
    let mut kept: Vec<(Use, &Target, Shape, usize)> = Vec::new();
    for target in targets.values() {
        let shapes = target.shapes.borrow();
        kept.extend(shapes.iter().map(|(shape, (compiled, used))| (*used, &**target, shape.clone(), compiled.size())));
    }
    kept.sort_unstable_by_key(|(used, ..)| *used);
    let (mut count, mut bytes) = (kept.len(), kept.iter().map(|(.., size)| size).sum::<usize>());
    for (_, target, shape, size) in kept {
        if count < SHAPES_MAX && bytes < SHAPES_BYTES_MAX {
            break;
        }
        let unused = target.shapes.borrow_mut().remove(&shape);
        drop(unused);
        count -= 1;
        bytes -= size;
    }
}

/// The same with tables, which are dropped while nobody else looks at them.
fn make_room_for_target() {
    loop {
        let unused = {
            let mut targets = TARGETS.borrow_mut();
            if targets.len() < TARGETS_MAX {
                return;
            }
            let unused = targets.iter().min_by_key(|(_, target)| target.used.get()).map(|(table, _)| *table);
            unused.and_then(|table| targets.remove(&table))
        };
        drop(unused);
    }
}

static TARGETS: OfBackend<RefCell<BTreeMap<u32, Rc<Target>>>> = OfBackend::new(RefCell::new(BTreeMap::new()));
/// Counts the uses of what is kept.
static USES: OfBackend<Cell<Use>> = OfBackend::new(Cell::new(0));
static IS_REGISTERED: OfBackend<Cell<bool>> = OfBackend::new(Cell::new(false));
/// Counts the changes of relations and functions, so that one which comes while a table is being read is noticed.
static CHANGES: OfBackend<Cell<u64>> = OfBackend::new(Cell::new(0));

/// The attached table, to write it; SPI must be connected. Statements name it, and another table must not take the name before they run:
/// it is locked as they lock it, before anything is known of it. Who may not write it runs none that does, and gets no such lock.
///
/// # Errors
/// When the table is not attached, or cannot be worked on as it stands.
pub(crate) fn target(table: pg_sys::Oid) -> Result<Rc<Target>, Failure> {
    // SAFETY: takes a lock that the transaction holds to its end, and what has changed is heard with it; raises an error where there is
    // nothing to write.
    unsafe {
        pg_sys::PreventCommandDuringRecovery(c"a patch".as_ptr());
        let is_there = !pg_sys::get_rel_name(table).is_null();
        if is_there && may_write(table) {
            pg_sys::LockRelationOid(table, pg_sys::RowExclusiveLock as i32);
        }
    }
    known(table)
}

/// The same where only what is known of the table is asked for.
///
/// # Errors
/// As [`target`].
pub(crate) fn known(table: pg_sys::Oid) -> Result<Rc<Target>, Failure> {
    if !IS_REGISTERED.replace(true) {
        // SAFETY: a backend may register callbacks at any time; these are registered once.
        unsafe {
            let functions = pg_sys::SysCacheIdentifier::PROCOID as i32;
            pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0));
            pg_sys::CacheRegisterSyscacheCallback(functions, Some(function_changed), pg_sys::Datum::from(0));
        }
    }
    let known = TARGETS.borrow().get(&table.to_u32()).map(Rc::clone);
    if let Some(known) = known.filter(|known| !known.is_stale.get()) {
        known.used.set(use_now());
        return Ok(known);
    }
    let changes = CHANGES.get();
    let target = Rc::new(Target::new(table, Layout::read(table)?));
    // Through the snapshot of a transaction that began long ago the table may look as it did then: good for that transaction only.
    target.is_stale.set(changes != CHANGES.get() || backend::reads_as_it_began());
    let outdated = TARGETS.borrow_mut().remove(&table.to_u32());
    drop(outdated);
    make_room_for_target();
    let replaced = TARGETS.borrow_mut().insert(table.to_u32(), Rc::clone(&target));
    drop(replaced);
    Ok(target)
}

/// May come in the middle of anything, so it only marks.
#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    CHANGES.set(CHANGES.get().wrapping_add(1));
    let Ok(targets) = TARGETS.try_borrow() else { return };
    for target in targets.values() {
        if relation == pg_sys::InvalidOid || target.layout.relations.contains(&relation.to_u32()) {
            target.is_stale.set(true);
        }
    }
}

/// A function that merges may be another one now, or STRICT no longer, which is compiled into statements. May come in the middle of
/// anything, so it only marks.
#[pg_guard]
unsafe extern "C-unwind" fn function_changed(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    CHANGES.set(CHANGES.get().wrapping_add(1));
    let Ok(targets) = TARGETS.try_borrow() else { return };
    targets.values().filter(|target| target.calls_functions()).for_each(|target| target.is_stale.set(true));
}
