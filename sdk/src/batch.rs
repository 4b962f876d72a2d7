//! A frozen batch as it is sent: patches of one shape (operation and set of fields) go to Postgres together.

use crate::fields;
use crate::key::{self, Key};
use crate::layout::{Layout, Role, TableMeta};
use crate::table::Frozen;
use crate::text::push_json_string;
use cache_sync_core::fields::FieldIndex;
use cache_sync_core::merge;
use cache_sync_core::number::{KeyHash, Sequence};
use cache_sync_core::patch::{Kind, Patch};
use cache_sync_core::rule::Rule;
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
    Shape { kind: patch.kind, fields: patch.fields().indexes().collect(), each_stamped: patch.is_each_stamped() }
}

fn shape_json(shape: &Shape, layout: &Layout) -> String {
    let (op, seen) = match shape.kind {
        Kind::Edit => ("edit", false),
        Kind::Put { seen } => ("put", seen),
        Kind::Replace => ("replace", false),
        Kind::Delete => ("delete", false),
        Kind::CompareAndSet => ("compare_and_set", false),
    };
    let fields: Vec<_> = shape.fields.iter().map(|field| layout.columns[usize::from(*field)].name.as_str()).collect();
    let stamps = if shape.each_stamped { "each" } else { "one" };
    serde_json::json!({ "op": op, "seen": seen, "fields": fields, "stamps": stamps }).to_string()
}

fn write_row<K: Key>(out: &mut String, place: usize, frozen: &Frozen<K>, meta: &TableMeta, layout: &Layout) {
    let patch = &frozen.patch;
    let _ = write!(out, "{{\"#\":{place},\"@\":{},", patch.stamp);
    key::write_members(&frozen.key, &meta.key, out);
    for (field, value, stamp) in patch.incoming() {
        let column = &layout.columns[usize::from(field)];
        out.push(',');
        push_json_string(out, &column.name);
        out.push(':');
        match &column.role {
            // The parts of a document have stamps of their own; a replacement is one value.
            Role::Field { rule: Rule::Json(_), .. } if patch.is_each_stamped() && patch.kind != Kind::Replace => {
                out.push_str(&merge::dated_as_list(value, stamp));
            }
            // By number: a name with a letter more may be longer than names may be.
            Role::Field { id, .. } if patch.is_each_stamped() => {
                let _ = write!(out, "{},\"@{id}\":{stamp}", fields::sql_json(column, value));
            }
            _ => out.push_str(&fields::sql_json(column, value)),
        }
    }
    out.push('}');
}
