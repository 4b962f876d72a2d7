//! The patches as a table `p` of a statement.

use super::layout::FieldColumn;
use super::sql::{key_order, own_stamp};
use super::writer::Writer;
use cache_sync_core::hlc::AHEAD_MAX_MICROS;
use cache_sync_core::patch::PatchKind;
use cache_sync_core::rule::Rule;
use std::fmt::Write;

/// Which stamps a statement needs of patches whose fields have stamps of their own.
#[derive(Clone, Copy)]
pub(super) enum AskedStamps {
    /// Those of the fields that are contested.
    Contested,
    /// Those of all that have one.
    All,
}

impl Writer<'_> {
    /// The patches, sorted by key so that everybody locks rows in the same order, with stamps that are believed.
    pub(super) fn source(&self, stamps: AskedStamps) -> String {
        let mut columns = String::from("\"#\" pg_catalog.int4");
        let mut selected = String::from("r.\"#\"");
        for key in &self.layout.key {
            let _ = write!(columns, ", {} {}", key.column, key.declared);
            let _ = write!(selected, ", r.{}", key.column);
        }
        let is_change =
            |field: &FieldColumn| matches!(field.rule, Rule::Add | Rule::Union) && self.kind == PatchKind::Edit;
        for field in &self.fields {
            let is_change = is_change(field);
            let _ = write!(columns, ", {} {}", field.column, if is_change { &field.change } else { &field.declared });
            if is_change && field.change == "numeric" {
                let _ = write!(selected, ", cache_sync_internal.finite(r.{c}) AS {c}", c = field.column);
            } else {
                let _ = write!(selected, ", r.{}", field.column);
            }
        }
        if self.kind == PatchKind::CompareAndSet {
            columns += ", \"=\" pg_catalog.int8";
            selected += ", r.\"=\"";
        }
        if self.uses_stamps() {
            columns += ", \"@\" pg_catalog.int8";
            let _ = write!(selected, ", {} AS \"@\"", believed("\"@\""));
            for field in self.own_stamps() {
                let own = own_stamp(field);
                let _ = write!(columns, ", {own} pg_catalog.int8");
                let _ = write!(selected, ", {} AS {own}", believed(&own));
            }
            let stamp = |field: &FieldColumn| match self.has_own_stamp(field) {
                true => believed(&own_stamp(field)),
                false => believed("\"@\""),
            };
            let mut own: Vec<_> = match stamps {
                _ if !self.each => Vec::new(),
                AskedStamps::Contested => self.contested().map(stamp).collect(),
                AskedStamps::All => self.stamped().map(stamp).collect(),
            };
            if own.is_empty() {
                own.push(believed("\"@\""));
            }
            let _ = write!(selected, ", ARRAY[{}] AS \"@stamps\"", own.join(", "));
        }
        let is_plain = self.fields.iter().all(|field| is_change(field) || field.is_plain);
        let read = if is_plain { "cache_sync_internal.patches" } else { "pg_catalog.json_to_recordset" };
        format!("(SELECT {selected} FROM {read}($1) AS r({columns}) ORDER BY {}) AS p", key_order(self.layout, "r"))
    }
}

/// A patch's stamp, as core's `hlc::believed` takes it.
fn believed(column: &str) -> String {
    format!(
        "CASE WHEN r.{column} OPERATOR(pg_catalog.<=) ($2 OPERATOR(pg_catalog.+) {AHEAD_MAX_MICROS}) THEN r.{column} ELSE $2 END"
    )
}
