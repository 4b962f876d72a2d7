//! A frozen batch as it is sent: patches of one shape (operation and set of fields) go to Postgres together.

use crate::fields;
use crate::key::{self, Key};
use crate::layout::{Layout, TableMeta};
use crate::table::Frozen;
use cache_sync_core::number::{KeyHash, Sequence};
use cache_sync_core::patch::{FieldIndex, Kind, Patch};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A numbered batch. It is sent again in exactly these bytes until its outcome is known.
pub(crate) struct Batch {
    pub(crate) sequence: Sequence,
    /// Whose patch stands at which place.
    pub(crate) keys: Vec<KeyHash>,
    pub(crate) shapes: String,
    pub(crate) rows: Vec<String>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    kind: Kind,
    fields: Vec<FieldIndex>,
    each_stamped: bool,
}

impl Batch {
    pub(crate) fn new<K: Key>(sequence: Sequence, frozen: &[Frozen<K>], meta: &TableMeta, layout: &Layout) -> Batch {
        let mut by_shape: BTreeMap<Shape, String> = BTreeMap::new();
        for (place, frozen) in frozen.iter().enumerate() {
            let rows = by_shape.entry(shape(&frozen.patch)).or_default();
            rows.push(if rows.is_empty() { '[' } else { ',' });
            write_row(rows, place, frozen, meta, layout);
        }
        let shapes: Vec<_> = by_shape.keys().map(|shape| shape_json(shape, layout)).collect();
        let rows = by_shape.into_values().map(|rows| rows + "]").collect();
        let keys = frozen.iter().map(|frozen| frozen.hash).collect();
        Batch { sequence, keys, shapes: format!("[{}]", shapes.join(",")), rows }
    }
}

fn shape(patch: &Patch) -> Shape {
    let each_stamped = patch.fields.values().any(|incoming| incoming.stamp != patch.stamp);
    Shape { kind: patch.kind, fields: patch.fields.keys().copied().collect(), each_stamped }
}

fn shape_json(shape: &Shape, layout: &Layout) -> String {
    let (op, seen) = match shape.kind {
        Kind::Edit => ("edit", false),
        Kind::Put { seen } => ("put", seen),
        Kind::Replace => ("replace", false),
        Kind::Delete => ("delete", false),
    };
    let fields: Vec<_> = shape.fields.iter().map(|field| layout.columns[usize::from(*field)].name.as_str()).collect();
    let stamps = if shape.each_stamped { "each" } else { "one" };
    serde_json::json!({ "op": op, "seen": seen, "fields": fields, "stamps": stamps }).to_string()
}

fn write_row<K: Key>(out: &mut String, place: usize, frozen: &Frozen<K>, meta: &TableMeta, layout: &Layout) {
    let patch = &frozen.patch;
    let each_stamped = patch.fields.values().any(|incoming| incoming.stamp != patch.stamp);
    let _ = write!(out, "{{\"#\":{place},\"@\":{},", patch.stamp);
    key::write_members(&frozen.key, &meta.key, out);
    for (field, incoming) in &patch.fields {
        let column = &layout.columns[usize::from(*field)];
        let _ = write!(out, ",{}:{}", json_string(&column.name), fields::sql_json(column, &incoming.value));
        if each_stamped {
            let _ = write!(out, ",{}:{}", json_string(&format!("@{}", column.name)), incoming.stamp);
        }
    }
    out.push('}');
}

fn json_string(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}
