//! The statements of a table that go by the keys of patches alone, whatever their shapes. `$1` is an array of json arrays of patches.

use super::layout::Layout;
use super::sql::{key_match, key_order};
use std::fmt::Write;

/// Locks the rows of several shapes' patches in the order of their keys and returns their places; `$1` is an array of
/// their json arrays. As an UPDATE does: also next to deletions, foreign keys' children of the other rows need not wait, and
/// whoever inserts several of them, in whatever order, does not wait for a batch that waits for him.
pub(super) fn lock(layout: &Layout) -> String {
    format!(
        "SELECT p.\"#\" FROM {} JOIN {} AS t ON {} FOR NO KEY UPDATE OF t",
        keys_of(layout, "$1"),
        layout.relation,
        key_match(layout)
    )
}

/// Updates the rows of patches, but changes nothing in them.
pub(super) fn touch(layout: &Layout, column: &str) -> String {
    format!(
        "UPDATE {} AS t SET {column} = t.{column} FROM {} WHERE {} RETURNING 1",
        layout.relation,
        keys_of(layout, "$1"),
        key_match(layout)
    )
}

/// A place of a patch whose row has expired; `None` when rows do not expire.
pub(super) fn expired(layout: &Layout) -> Option<String> {
    let (keys, has_expired) = (keys_of(layout, "$1"), has_expired(layout)?);
    Some(format!("SELECT p.\"#\" FROM {keys} JOIN {} AS t ON {has_expired} LIMIT 1", layout.relation))
}

/// Deletes the rows of patches that have expired, in the order of their keys.
pub(super) fn expire(layout: &Layout) -> Option<String> {
    let (keys, has_expired) = (keys_of(layout, "$1"), has_expired(layout)?);
    Some(format!("DELETE FROM {} AS t USING {keys} WHERE {has_expired}", layout.relation))
}

/// Whether the row `t` is that of the patch `p`, and has expired.
fn has_expired(layout: &Layout) -> Option<String> {
    let expires = layout.expires.as_ref()?;
    Some(format!("{} AND t.{expires} OPERATOR(pg_catalog.<=) pg_catalog.now()", key_match(layout)))
}

/// The places of patches in the order of their keys.
pub(super) fn order(layout: &Layout) -> String {
    format!("SELECT p.\"#\" FROM {}", keys_of(layout, "$1"))
}

/// A place of a patch whose key another patch has, too.
pub(super) fn duplicate(layout: &Layout) -> String {
    let keys: Vec<_> = layout.key.iter().map(|key| format!("p.{}", key.column)).collect();
    format!(
        "SELECT pg_catalog.max(p.\"#\") FROM {} GROUP BY {} HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1 LIMIT 1",
        keys_of(layout, "$1"),
        keys.join(", ")
    )
}

/// The newest stamp in the row of a key, if it has any: `$1` is a json array with the key's columns.
pub(super) fn newest(layout: &Layout) -> Option<String> {
    layout.versioned.then(|| {
        format!(
            "SELECT cache_sync_internal.clock_newest(t.cs_clock, t.cs_version) FROM {} JOIN {} AS t ON {}",
            keys_of(layout, "ARRAY[$1]"),
            layout.relation,
            key_match(layout)
        )
    })
}

/// The row of a key: `$1` is a json array with the key's columns.
pub(super) fn row(layout: &Layout) -> String {
    format!(
        "SELECT pg_catalog.to_jsonb(t.*) OPERATOR(pg_catalog.-) '{{cs_version,cs_clock}}'::pg_catalog.text[] FROM {} \
         JOIN {} AS t ON {}",
        keys_of(layout, "ARRAY[$1]"),
        layout.relation,
        key_match(layout)
    )
}

fn keys_of(layout: &Layout, parts: &str) -> String {
    let mut columns = String::from("\"#\" pg_catalog.int4");
    for key in &layout.key {
        let _ = write!(columns, ", {} {}", key.column, key.declared);
    }
    format!(
        "(SELECT r.* FROM pg_catalog.unnest({parts}) AS a(part), LATERAL cache_sync_internal.patches(a.part) AS \
         r({columns}) ORDER BY {}) AS p",
        key_order(layout, "r")
    )
}
