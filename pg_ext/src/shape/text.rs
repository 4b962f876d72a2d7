//! The SQL texts of a shape.
//!
//! `$1` is a json array of patches, `$2` the largest stamp that is believed. `p` is the patches in the order of their
//! keys, `t` the table. Types are written out, functions and operators are those of pg_catalog or of the extension,
//! whatever the caller's search_path says.

use super::layout::{FieldColumn, Layout};
use cache_sync_core::patch::Kind;
use cache_sync_core::rule::Rule;
use std::fmt::Write;

/// Writes the statements of one shape.
pub(super) struct Writer<'a> {
    pub(super) layout: &'a Layout,
    pub(super) kind: Kind,
    /// The fields that the shape carries.
    pub(super) fields: Vec<&'a FieldColumn>,
    /// Whether every field comes with a stamp of its own.
    pub(super) each: bool,
}

impl Writer<'_> {
    /// UPDATE (or DELETE) of the rows that exist, returning `(place, replaced, version, lost)`; `None` when the shape
    /// changes nothing of a row that exists.
    pub(super) fn change(&self) -> Option<String> {
        let mut text = String::with_capacity(2048);
        let relation = &self.layout.relation;
        if self.kind == Kind::Delete {
            let version = self.version();
            text += &format!(
                "DELETE FROM {relation} AS t USING {} WHERE {} AND {} RETURNING p.\"#\", {version}, 0::pg_catalog.int8, \
                 false",
                self.source(),
                self.key_match(),
                self.condition(),
            );
            return Some(text);
        }
        let mut set: Vec<_> = self.merged().map(|field| format!("{} = {}", field.column, self.value(field))).collect();
        if set.is_empty() {
            return None;
        }
        if self.stamped().next().is_some() {
            set.push(format!(
                "cs_clock = cache_sync.clock_after(p.\"@stamps\", t.cs_clock, t.cs_version, {}, {})",
                numbers(self.stamped()),
                numbers(self.layout.stamped())
            ));
        }
        let replaced = if self.layout.versioned { "cache_sync.replaced_version()" } else { "0::pg_catalog.int8" };
        let _ = write!(
            text,
            "UPDATE {relation} AS t SET {} FROM {} WHERE {} AND {} RETURNING p.\"#\", {replaced}, {}, {}",
            set.join(", "),
            self.source(),
            self.key_match(),
            self.condition(),
            self.version(),
            self.lost(true)
        );
        Some(text)
    }

    /// What became of patches that [`Writer::change`] did not return: `(place, there, applicable, lost, version)`.
    pub(super) fn look(&self) -> String {
        format!(
            "SELECT p.\"#\", t.{} IS NOT NULL, {}, {}, {} FROM {} LEFT JOIN {} AS t ON {}",
            self.layout.key[0].column,
            is_true(&self.condition()),
            is_true(&self.lost(false)),
            self.version(),
            self.source(),
            self.layout.relation,
            self.key_match()
        )
    }

    /// INSERT of rows that do not exist, returning `(place, 0, version, false)`; a place is null for a row whose key a
    /// trigger changed.
    pub(super) fn insert(&self) -> String {
        let layout = self.layout;
        let keys: Vec<_> = layout.key.iter().map(|key| key.column.as_str()).collect();
        let mut columns: Vec<_> = keys.iter().copied().chain(self.fields.iter().map(|f| f.column.as_str())).collect();
        let mut values: Vec<_> = columns.iter().map(|column| format!("p.{column}")).collect();
        if layout.stamped().next().is_some() {
            columns.push("cs_clock");
            values.push(format!(
                "cache_sync.clock_new(p.\"@stamps\", {}, {})",
                numbers(self.stamped()),
                numbers(layout.stamped())
            ));
        }
        let join: Vec<_> = keys.iter().map(|key| format!("i.{key} OPERATOR(pg_catalog.=) p.{key}")).collect();
        let version = if layout.versioned { "cs_version" } else { "0::pg_catalog.int8 AS cs_version" };
        format!(
            "WITH p AS MATERIALIZED (SELECT * FROM {}), i AS (INSERT INTO {} ({}){} SELECT {} FROM p \
             ON CONFLICT ({}) DO NOTHING RETURNING {}, {version}) \
             SELECT p.\"#\", 0::pg_catalog.int8, COALESCE(i.cs_version, 0), false FROM i LEFT JOIN p ON {}",
            self.source(),
            layout.relation,
            columns.join(", "),
            if layout.identity { " OVERRIDING SYSTEM VALUE" } else { "" },
            values.join(", "),
            keys.join(", "),
            keys.join(", "),
            join.join(" AND ")
        )
    }

    /// The members that a patch's JSON object must have.
    pub(super) fn required(&self) -> Vec<String> {
        let keys = self.layout.key.iter().map(|key| key.name.clone());
        let fields = self.fields.iter().map(|field| field.name.clone());
        let mut required: Vec<_> = std::iter::once("#".to_owned()).chain(keys).chain(fields).collect();
        if self.uses_stamps() {
            let own: Vec<_> = self.stamped().filter(|_| self.each).map(|field| format!("@{}", field.id)).collect();
            required.extend(if own.is_empty() { vec!["@".to_owned()] } else { own });
        }
        required
    }

    /// The members that it may have: stamps that this shape has no use for.
    pub(super) fn optional(&self) -> Vec<String> {
        let own = self.fields.iter().filter(|_| self.each).map(|field| format!("@{}", field.id));
        std::iter::once("@".to_owned()).chain(own).collect()
    }

    /// Whether the statements ask for stamps: an edit of other fields leaves them alone.
    fn uses_stamps(&self) -> bool {
        self.layout.stamped().next().is_some() && (self.kind != Kind::Edit || self.stamped().next().is_some())
    }

    fn stamped(&self) -> impl Iterator<Item = &FieldColumn> {
        self.fields.iter().copied().filter(|field| field.rule.is_stamped())
    }

    /// The fields that change in a row that exists.
    fn merged(&self) -> impl Iterator<Item = &FieldColumn> {
        let is_put = matches!(self.kind, Kind::Put { .. });
        self.fields.iter().copied().filter(move |field| !(is_put && field.rule.is_left_by_put()))
    }

    /// The rule by which a field of this shape meets the row's value: a replacement only asks for stamps.
    fn rule(&self, field: &FieldColumn) -> Rule {
        match field.rule {
            Rule::Add | Rule::Max | Rule::Min if self.kind == Kind::Replace => Rule::Arrival,
            rule => rule,
        }
    }

    /// The patches, sorted by key so that everybody locks rows in the same order, with stamps that are believed.
    fn source(&self) -> String {
        let mut columns = String::from("\"#\" pg_catalog.int4");
        let mut selected = String::from("r.\"#\"");
        for key in &self.layout.key {
            let _ = write!(columns, ", {} {}", key.column, key.declared);
            let _ = write!(selected, ", r.{}", key.column);
        }
        for field in &self.fields {
            let is_change = field.rule == Rule::Add && self.kind == Kind::Edit;
            let _ = write!(columns, ", {} {}", field.column, if is_change { &field.change } else { &field.declared });
            let _ = write!(selected, ", r.{}", field.column);
        }
        if self.uses_stamps() {
            let mut stamps = Vec::new();
            columns += ", \"@\" pg_catalog.int8";
            selected += ", LEAST(r.\"@\", $2) AS \"@\"";
            for field in self.stamped().filter(|_| self.each) {
                let own = own_stamp(field);
                let _ = write!(columns, ", {own} pg_catalog.int8");
                let _ = write!(selected, ", LEAST(r.{own}, $2) AS {own}");
                stamps.push(format!("LEAST(r.{own}, $2)"));
            }
            if stamps.is_empty() {
                stamps.push("LEAST(r.\"@\", $2)".to_owned());
            }
            let _ = write!(selected, ", ARRAY[{}] AS \"@stamps\"", stamps.join(", "));
        }
        format!(
            "(SELECT {selected} FROM pg_catalog.json_to_recordset($1) AS r({columns}) ORDER BY {}) AS p",
            key_order(self.layout, "r")
        )
    }

    fn key_match(&self) -> String {
        key_match(self.layout)
    }

    fn version(&self) -> &'static str {
        if self.layout.versioned { "COALESCE(t.cs_version, 0)" } else { "0::pg_catalog.int8" }
    }

    /// How the field's stamp in the patch stands to the row's: 1, 0 or -1.
    fn compare(&self, field: &FieldColumn) -> String {
        let stamp = if self.each { own_stamp(field) } else { "\"@\"".to_owned() };
        format!("cache_sync.compare(p.{stamp}, t.cs_clock, t.cs_version, {}::pg_catalog.int2)", field.id)
    }

    /// Whether the field is decided by value, for the patch.
    fn wins_tie(&self, field: &FieldColumn) -> String {
        format!(
            "({} OPERATOR(pg_catalog.=) 0 AND cache_sync.is_larger(p.{c}, t.{c}))",
            self.compare(field),
            c = field.column
        )
    }

    /// The field's value after the patch.
    fn value(&self, field: &FieldColumn) -> String {
        let column = &field.column;
        match self.rule(field) {
            // The condition has decided the contest of this very row.
            Rule::Lww => format!(
                "CASE WHEN cache_sync.all_win(p.\"@stamps\", t.cs_version) THEN p.{column} WHEN {compare} OPERATOR(pg_catalog.>) 0 THEN p.{column} \
                 WHEN {} THEN p.{column} ELSE t.{column} END",
                self.wins_tie(field),
                compare = self.compare(field)
            ),
            Rule::Arrival => format!("p.{column}"),
            Rule::Add => {
                format!("COALESCE(t.{column} OPERATOR(pg_catalog.+) p.{column}, t.{column}, p.{column})")
            }
            Rule::Max => format!("GREATEST(t.{column}, p.{column})"),
            Rule::Min => format!("LEAST(t.{column}, p.{column})"),
        }
    }

    /// Whether the patch wins something, or changes something.
    fn condition(&self) -> String {
        if self.kind == Kind::Delete {
            return if self.uses_stamps() {
                format!(
                    "NOT cache_sync.loses(p.\"@stamps\", t.cs_clock, t.cs_version, {})",
                    numbers(self.layout.stamped())
                )
            } else {
                "true".to_owned()
            };
        }
        let mut reasons = Vec::new();
        if self.stamped().next().is_some() {
            let wins = format!("cache_sync.wins(p.\"@stamps\", t.cs_clock, t.cs_version, {})", numbers(self.stamped()));
            let ties = any(self.stamped().map(|field| self.wins_tie(field)));
            reasons.push(format!("{wins} OPERATOR(pg_catalog.>) 0 OR {wins} OPERATOR(pg_catalog.=) 0 AND {ties}"));
        }
        for field in self.merged().filter(|field| !field.rule.is_stamped()) {
            reasons.push(match self.rule(field) {
                // Assigning the sum makes it the column's type again, so it must be compared as that.
                Rule::Add => {
                    format!("cache_sync.differs(t.{}, ({})::{})", field.column, self.value(field), field.declared)
                }
                _ => format!("cache_sync.differs(t.{}, {})", field.column, self.value(field)),
            });
        }
        any(reasons.into_iter())
    }

    /// Whether some field of the patch does not stand in the row `t`: the row after the patch, or one that the patch
    /// did not change.
    fn lost(&self, after: bool) -> String {
        if self.kind == Kind::Delete {
            return format!("NOT {}", is_true(&self.condition()));
        }
        let mut reasons = Vec::new();
        if self.stamped().next().is_some() {
            let fields = numbers(self.stamped());
            reasons.push(format!("cache_sync.loses(p.\"@stamps\", t.cs_clock, t.cs_version, {fields})"));
            let differ = any(self.stamped().map(|f| format!("cache_sync.differs(t.{c}, p.{c})", c = f.column)));
            if after {
                reasons.push(format!("(cache_sync.replaced_tie() AND ({differ}))"));
            } else {
                reasons.push(format!("({differ})"));
            }
        }
        for field in self.merged() {
            if matches!(self.rule(field), Rule::Max | Rule::Min) {
                reasons.push(format!("cache_sync.differs(t.{c}, p.{c})", c = field.column));
            }
        }
        any(reasons.into_iter())
    }
}

/// Locks the rows of several shapes' patches in the order of their keys and returns their places; `$1` is an array of
/// their json arrays.
pub(super) fn lock(layout: &Layout, strength: &str) -> String {
    format!(
        "SELECT p.\"#\" FROM {} JOIN {} AS t ON {} FOR {strength} OF t",
        keys_of(layout, "$1"),
        layout.relation,
        key_match(layout)
    )
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
        "(SELECT r.* FROM pg_catalog.unnest({parts}) AS a(part), LATERAL pg_catalog.json_to_recordset(a.part) AS \
         r({columns}) ORDER BY {}) AS p",
        key_order(layout, "r")
    )
}

fn key_order(layout: &Layout, alias: &str) -> String {
    let order: Vec<_> = layout.key.iter().map(|key| format!("{alias}.{}{}", key.column, key.order)).collect();
    order.join(", ")
}

fn key_match(layout: &Layout) -> String {
    let columns: Vec<_> =
        layout.key.iter().map(|key| format!("t.{c} OPERATOR(pg_catalog.=) p.{c}", c = key.column)).collect();
    columns.join(" AND ")
}

fn numbers<'a>(fields: impl Iterator<Item = &'a FieldColumn>) -> String {
    let ids: Vec<_> = fields.map(|field| field.id.to_string()).collect();
    format!("'{{{}}}'::pg_catalog.int2[]", ids.join(","))
}

fn any(reasons: impl Iterator<Item = String>) -> String {
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() { "false".to_owned() } else { format!("({})", reasons.join(" OR ")) }
}

fn is_true(condition: &str) -> String {
    format!("COALESCE({condition}, false)")
}

/// The column of a field's own stamp. It goes by the field's number: a name with a letter more may be too long for one.
fn own_stamp(field: &FieldColumn) -> String {
    format!("\"@{}\"", field.id)
}
