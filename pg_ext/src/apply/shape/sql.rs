//! Words and clauses that all statements are made of.

use super::layout::{FieldColumn, Layout};

/// A string in SQL, whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The numbers of fields, as an array.
pub(super) fn numbers<'a>(fields: impl Iterator<Item = &'a FieldColumn>) -> String {
    let ids: Vec<_> = fields.map(|field| field.id.to_string()).collect();
    format!("'{{{}}}'::pg_catalog.int2[]", ids.join(","))
}

/// Whether one of these holds.
pub(super) fn any(reasons: impl Iterator<Item = String>) -> String {
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() { "false".to_owned() } else { format!("({})", reasons.join(" OR ")) }
}

/// Whether the condition holds, null being no.
pub(super) fn is_true(condition: &str) -> String {
    format!("COALESCE({condition}, false)")
}

/// The column of a field's own stamp. It goes by the field's number: a name with a letter more may be too long for one.
pub(super) fn own_stamp(field: &FieldColumn) -> String {
    format!("\"@{}\"", field.id)
}

/// The order in which everybody locks rows.
pub(super) fn key_order(layout: &Layout, alias: &str) -> String {
    let order: Vec<_> = layout.key.iter().map(|key| format!("{alias}.{}{}", key.column, key.order)).collect();
    order.join(", ")
}

/// Whether the row `t` is that of the patch `p`.
pub(super) fn key_match(layout: &Layout) -> String {
    let columns: Vec<_> =
        layout.key.iter().map(|key| format!("t.{c} OPERATOR(pg_catalog.=) p.{c}", c = key.column)).collect();
    columns.join(" AND ")
}
