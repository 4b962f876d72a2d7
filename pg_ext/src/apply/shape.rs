//! Compiles the statements of a shape: one operation on one set of fields.
//!
//! ```text
//! layout     what the catalogs say of the table      text    the SQL texts
//! statement  saved statements and their planning     rule    what rules are in SQL
//! ```
//! A table's layout and its shapes' statements are compiled on first use and kept until the table, one of its
//! partitions or one of its rules changes.

mod layout;
mod rule;
mod statement;
mod text;

pub(crate) use layout::Layout;
pub(crate) use statement::{Planning, Row, Statement};

use crate::pg::backend::OfBackend;
use crate::pg::failure::Failure;
use cache_sync_core::patch::Kind;
use cache_sync_core::rule::Rule;
use pgrx::{pg_guard, pg_sys};
use serde::Deserialize;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use text::Writer;

/// How many shapes of a table a backend keeps compiled.
const SHAPES_MAX: usize = 100;

/// What patches have in common: the operation and the fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// Sorted by name.
    pub(crate) fields: Vec<String>,
    /// The rules that the writer took the fields to have; the present ones where it does not say.
    pub(crate) rules: BTreeMap<String, Rule>,
    /// Whether each field has a stamp of its own.
    pub(crate) each: bool,
}

/// A shape as it travels.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Travelling {
    op: Op,
    #[serde(default)]
    seen: bool,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    rules: BTreeMap<String, Rule>,
    #[serde(default)]
    stamps: Stamps,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Edit,
    Put,
    Replace,
    Delete,
    #[serde(rename = "compare_and_set")]
    CompareAndSet,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Stamps {
    #[default]
    One,
    Each,
}

impl Shape {
    /// A shape without own stamps.
    pub(crate) fn new(kind: Kind, mut fields: Vec<String>) -> Shape {
        fields.sort_unstable();
        Shape { kind, fields, rules: BTreeMap::new(), each: false }
    }

    /// Reads the shapes of a batch.
    ///
    /// # Errors
    /// When the JSON is not of the form that docs/design.md describes.
    pub(crate) fn read(shapes: &str) -> Result<Vec<Shape>, Failure> {
        let shapes: Vec<Travelling> = serde_json::from_str(shapes)
            .map_err(|error| Failure::new(b"22023", format!("shapes is not a list of shapes: {error}")))?;
        shapes.into_iter().map(Shape::of).collect()
    }

    /// The shape as it travels.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "op": self.op(),
            "seen": self.kind == Kind::Put { seen: true },
            "fields": self.fields,
            "rules": self.rules,
            "stamps": if self.each { "each" } else { "one" },
        })
    }

    fn of(travelling: Travelling) -> Result<Shape, Failure> {
        let kind = match travelling.op {
            Op::Edit => Kind::Edit,
            Op::Put => Kind::Put { seen: travelling.seen },
            Op::Replace => Kind::Replace,
            Op::Delete => Kind::Delete,
            Op::CompareAndSet => Kind::CompareAndSet,
        };
        let Travelling { rules, stamps, .. } = travelling;
        let shape = Shape { rules, each: stamps == Stamps::Each, ..Shape::new(kind, travelling.fields) };
        if let Some(twice) = shape.fields.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::new(b"22023", format!("a shape names the field \"{}\" twice", twice[0])));
        }
        if let Some(name) = shape.rules.keys().find(|name| !shape.fields.contains(name)) {
            return Err(Failure::new(
                b"22023",
                format!("a shape has a rule for \"{name}\", which is not among its fields"),
            ));
        }
        match kind {
            Kind::Delete if !shape.fields.is_empty() => Err(Failure::new(b"22023", "a deletion carries no fields")),
            Kind::Edit if shape.fields.is_empty() => Err(Failure::new(b"22023", "an edit carries no field")),
            _ => Ok(shape),
        }
    }

    /// The word for its operation.
    pub(crate) fn op(&self) -> &'static str {
        match self.kind {
            Kind::Edit => "edit",
            Kind::Put { .. } => "put",
            Kind::Replace => "replace",
            Kind::Delete => "delete",
            Kind::CompareAndSet => "compare_and_set",
        }
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
    fn new(text: String, types: &'static [pg_sys::Oid], planning: Planning) -> Lazy {
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

/// A compiled shape.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) shape: Shape,
    /// `($1 patches, $2 largest stamp) -> (place, replaced, version, lost)`
    pub(crate) change: Option<Lazy>,
    /// `-> (place, there, applicable, lost, version, creates)`
    pub(crate) look: Lazy,
    /// `-> (place or null, 0, version, false)`
    pub(crate) insert: Lazy,
    /// The members that a patch's object must have, and those that it may have.
    pub(crate) required: Vec<String>,
    pub(crate) optional: Vec<String>,
    /// Those whose values are lists of stamps and patches.
    pub(crate) dated: Vec<String>,
    /// Whether an applied patch leaves exactly the row that the rules make.
    pub(crate) exact: bool,
}

/// An attached table, with what was compiled for it.
#[derive(Debug)]
pub(crate) struct Target {
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
    shapes: RefCell<HashMap<Shape, Rc<Compiled>>>,
    is_stale: Cell<bool>,
}

const PATCHES: &[pg_sys::Oid] = &[pg_sys::JSONOID, pg_sys::INT8OID];
const PARTS: &[pg_sys::Oid] = &[pg_sys::JSONARRAYOID];
const PART: &[pg_sys::Oid] = &[pg_sys::JSONOID];

impl Target {
    fn new(layout: Layout) -> Target {
        use Planning::{Free, Nested};
        Target {
            lock: Lazy::new(text::lock(&layout), PARTS, Nested),
            expired: text::expired(&layout).map(|text| Lazy::new(text, PARTS, Nested)),
            expire: text::expire(&layout).map(|text| Lazy::new(text, PARTS, Nested)),
            order: Lazy::new(text::order(&layout), PARTS, Free),
            duplicate: Lazy::new(text::duplicate(&layout), PARTS, Free),
            row: Lazy::new(text::row(&layout), PART, Nested),
            layout,
            shapes: RefCell::default(),
            is_stale: Cell::new(false),
        }
    }

    /// The compiled form of a shape.
    ///
    /// # Errors
    /// When the shape names a field that is not there or cannot be written.
    pub(crate) fn compile(&self, shape: &Shape) -> Result<Rc<Compiled>, Failure> {
        if let Some(compiled) = self.shapes.borrow().get(shape) {
            return Ok(Rc::clone(compiled));
        }
        let compiled = Rc::new(self.compile_anew(shape)?);
        let mut shapes = self.shapes.borrow_mut();
        if shapes.len() >= SHAPES_MAX {
            shapes.clear();
        }
        shapes.insert(shape.clone(), Rc::clone(&compiled));
        Ok(compiled)
    }

    fn compile_anew(&self, shape: &Shape) -> Result<Compiled, Failure> {
        let layout = &self.layout;
        let mut fields = Vec::with_capacity(shape.fields.len());
        for name in &shape.fields {
            let Some(field) = layout.fields.iter().find(|field| field.name == *name) else {
                let message = format!("{} has no field \"{name}\"", layout.relation);
                return Err(Failure::new(b"42703", message));
            };
            if field.generated {
                let message = format!("the field \"{name}\" of {} is generated", layout.relation);
                return Err(Failure::new(b"428C9", message));
            }
            fields.push(layout.read_under(field, shape)?);
        }
        if shape.kind == Kind::CompareAndSet && !layout.versioned {
            let message = format!("{} is not versioned, so there is no version to compare", layout.relation);
            return Err(Failure::new(b"55000", message).hint("Attach it with versioned => true."));
        }
        let exact = !layout.coerced && fields.iter().all(|field| field.exact);
        let writer = Writer { layout, kind: shape.kind, fields, each: shape.each };
        Ok(Compiled {
            change: writer.change().map(|text| Lazy::new(text, PATCHES, Planning::Nested)),
            look: Lazy::new(writer.look(), PATCHES, Planning::Nested),
            insert: Lazy::new(writer.insert(), PATCHES, Planning::Free),
            required: writer.required(),
            optional: writer.optional(),
            dated: writer.dated(),
            exact,
            shape: shape.clone(),
        })
    }
}

static TARGETS: OfBackend<RefCell<BTreeMap<u32, Rc<Target>>>> = OfBackend::new(RefCell::new(BTreeMap::new()));
static IS_REGISTERED: OfBackend<Cell<bool>> = OfBackend::new(Cell::new(false));
/// Counts the changes of relations, so that one which comes while a table is being read is noticed.
static CHANGES: OfBackend<Cell<u64>> = OfBackend::new(Cell::new(0));

/// The attached table; SPI must be connected.
///
/// # Errors
/// When the table is not attached, or cannot be worked on as it stands.
pub(crate) fn target(table: pg_sys::Oid) -> Result<Rc<Target>, Failure> {
    if !IS_REGISTERED.replace(true) {
        // SAFETY: a backend may register callbacks at any time; this one is registered once.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0)) };
    }
    let known = TARGETS.borrow().get(&table.to_u32()).map(Rc::clone);
    if let Some(known) = known.filter(|known| !known.is_stale.get()) {
        return Ok(known);
    }
    let changes = CHANGES.get();
    let target = Rc::new(Target::new(Layout::read(table)?));
    target.is_stale.set(changes != CHANGES.get());
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
