//! A frozen batch as it is sent: patches of one shape (operation and set of fields) go to Postgres together.

use super::freeze::Frozen;
use crate::codec::fields;
use crate::codec::key::{self, Key};
use crate::codec::layout::{Layout, Role, TableMeta};
use crate::codec::schema::Schema;
use crate::codec::text::push_json_string;
use cache_sync_core::fields::FieldIndex;
use cache_sync_core::merge;
use cache_sync_core::number::{FieldId, KeyHash, Sequence, Stamp};
use cache_sync_core::patch::{Expected, PatchKind, RowPatch};
use cache_sync_core::rule::Rule;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A numbered batch. It is sent again in exactly these bytes until its outcome is known.
pub(super) struct Batch {
    pub(super) sequence: Sequence,
    /// Whose patch stands at which place.
    pub(super) keys: Vec<KeyHash>,
    pub(super) shapes: String,
    pub(super) rows: Vec<String>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    kind: PatchKind,
    fields: Vec<FieldIndex>,
    each_stamped: bool,
}

impl Batch {
    pub(super) fn new<K: Key>(sequence: Sequence, frozen: &[Frozen<K>], schema: &Schema) -> Batch {
        let Schema { meta, layout, .. } = schema;
        let mut by_shape: BTreeMap<Shape, String> = BTreeMap::new();
        for (place, frozen) in frozen.iter().enumerate() {
            let rows = by_shape.entry(shape(&frozen.patch, layout)).or_default();
            rows.push(if rows.is_empty() { '[' } else { ',' });
            write_row(rows, place, frozen, schema);
        }
        let shapes: Vec<_> = by_shape.keys().map(|shape| shape_json(shape, meta, layout)).collect();
        let rows = by_shape.into_values().map(|rows| rows + "]").collect();
        let keys = frozen.iter().map(|frozen| frozen.hash).collect();
        Batch { sequence, keys, shapes: format!("[{}]", shapes.join(",")), rows }
    }
}

fn shape(patch: &RowPatch, layout: &Layout) -> Shape {
    let mut fields: Vec<_> = patch.fields().indexes().map(|field| layout.column_of(field)).collect();
    fields.sort_unstable();
    fields.dedup();
    Shape { kind: patch.kind, fields, each_stamped: patch.is_each_stamped() }
}

fn shape_json(shape: &Shape, meta: &TableMeta, layout: &Layout) -> String {
    let (op, seen) = match shape.kind {
        PatchKind::Edit => ("edit", false),
        PatchKind::Put { seen } => ("put", seen),
        PatchKind::Replace => ("replace", false),
        PatchKind::Delete => ("delete", false),
        PatchKind::CompareAndSet => ("compare_and_set", false),
    };
    let columns = shape.fields.iter().map(|field| &layout.columns[usize::from(*field)]);
    let fields: Vec<_> = columns.map(|column| column.document.as_ref().unwrap_or(&column.name).as_str()).collect();
    let stamps = if shape.each_stamped { "each" } else { "one" };
    // The rules may be others by now; Postgres must not take a change for a value.
    let rules: BTreeMap<_, _> = fields.iter().filter_map(|name| Some((*name, meta.rule(name)?))).collect();
    serde_json::json!({ "op": op, "seen": seen, "fields": fields, "rules": rules, "stamps": stamps }).to_string()
}

/// Whether a document travels as a list of patches with their stamps.
fn is_dated(patch: &RowPatch) -> bool {
    patch.is_each_stamped() && patch.kind != PatchKind::Replace
}

/// A column of documents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct DocumentColumn<'a> {
    name: &'a str,
    id: FieldId,
}

/// The members of a patch that belong to documents, by column and stamp.
#[derive(Default)]
struct Documents<'a>(BTreeMap<DocumentColumn<'a>, BTreeMap<Stamp, String>>);

impl<'a> Documents<'a> {
    fn add(&mut self, document: DocumentColumn<'a>, name: &str, stamp: Stamp, value: &str) {
        for (stamp, value) in merge::dated(value, stamp) {
            let members = self.0.entry(document).or_default().entry(stamp).or_default();
            members.push(if members.is_empty() { '{' } else { ',' });
            push_json_string(members, name);
            members.push(':');
            members.push_str(value);
        }
    }

    fn write(self, patch: &RowPatch, out: &mut String) {
        for (DocumentColumn { name, id }, parts) in self.0 {
            out.push(',');
            push_json_string(out, name);
            out.push(':');
            if is_dated(patch) {
                let parts: Vec<_> = parts.iter().map(|(stamp, members)| format!("[{stamp},{members}}}]")).collect();
                let _ = write!(out, "[{}]", parts.join(","));
            } else {
                // All of one stamp, or of a replacement, which is written as a whole.
                let members: Vec<_> = parts.values().map(|members| &members[1..]).collect();
                let _ = write!(out, "{{{}}}", members.join(","));
                if let (true, Some(stamp)) = (patch.is_each_stamped(), parts.keys().max()) {
                    let _ = write!(out, ",\"@{id}\":{stamp}");
                }
            }
        }
    }
}

fn write_row<K: Key>(out: &mut String, place: usize, frozen: &Frozen<K>, schema: &Schema) {
    let Schema { meta, layout, .. } = schema;
    let patch = &frozen.patch;
    let _ = write!(out, "{{\"#\":{place},\"@\":{},", patch.stamp);
    if patch.kind == PatchKind::CompareAndSet {
        let _ = match patch.expected {
            Expected::Nothing => write!(out, "\"=\":null,"),
            Expected::Absence => write!(out, "\"=\":0,"),
            Expected::Version(version) => write!(out, "\"=\":{version},"),
        };
    }
    key::write_members(&frozen.key, &meta.key, out);
    let mut documents = Documents::default();
    for (field, value, stamp) in patch.incoming() {
        let column = &layout.columns[usize::from(field)];
        if let (Some(document), Role::Field { id, .. }) = (&column.document, &column.role) {
            let document = DocumentColumn { name: document, id: *id };
            documents.add(document, &column.name, stamp, value);
            continue;
        }
        out.push(',');
        push_json_string(out, &column.name);
        out.push(':');
        match &column.role {
            // The parts of a document have stamps of their own; a replacement is one value.
            Role::Field { rule: Rule::Json(_), .. } if is_dated(patch) => {
                out.push_str(&merge::dated_as_list(value, stamp));
            }
            // By number: a name with a letter more may be longer than names may be.
            Role::Field { id, .. } if patch.is_each_stamped() => {
                let _ = write!(out, "{},\"@{id}\":{stamp}", fields::sql_json(column, value));
            }
            _ => out.push_str(&fields::sql_json(column, value)),
        }
    }
    documents.write(patch, out);
    out.push('}');
}
