//! The statements of a shape.

use super::layout::Layout;
use super::operation::Shape;
use super::planning::Planning;
use super::statement::Lazy;
use super::writer::Writer;
use crate::pg::failure::Failure;
use pgrx::pg_sys;

const PATCHES: &[pg_sys::Oid] = &[pg_sys::JSONOID, pg_sys::INT8OID];

/// A compiled shape.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) shape: Shape,
    /// `($1 patches, $2 the time) -> (place, replaced, version, lost)`
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
    /// Whether, of a row that exists, it may write over what nothing tells the age of.
    pub(crate) overwrites: bool,
    /// Rows have versions.
    pub(crate) versioned: bool,
}

impl Compiled {
    /// How many bytes its statements take by now.
    pub(super) fn size(&self) -> usize {
        self.change.iter().chain([&self.look, &self.insert]).map(Lazy::size).sum()
    }

    /// The compiled form of a shape; SPI must be connected.
    ///
    /// # Errors
    /// When the shape names a field that is not there or cannot be written.
    pub(super) fn new(layout: &Layout, shape: &Shape) -> Result<Compiled, Failure> {
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
            overwrites: writer.overwrites(),
            versioned: layout.versioned,
            shape: shape.clone(),
        })
    }
}
