//! The SQL texts of a shape; what each rule is there says [`super::rule`].
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
    pub(super) fields: Vec<FieldColumn>,
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
                self.source(Stamps::Contested),
                self.key_match(),
                self.condition(),
            );
            return Some(text);
        }
        let mut set: Vec<_> = self.merged().map(|field| format!("{} = {}", field.column, self.value(field))).collect();
        if set.is_empty() {
            return None;
        }
        if let Some(clock) = self.clock() {
            set.push(format!("cs_clock = {clock}"));
        }
        let replaced =
            if self.layout.versioned { "cache_sync_internal.replaced_version()" } else { "0::pg_catalog.int8" };
        let _ = write!(
            text,
            "UPDATE {relation} AS t SET {} FROM {} WHERE {} AND {} RETURNING p.\"#\", {replaced}, {}, {}",
            set.join(", "),
            self.source(Stamps::Contested),
            self.key_match(),
            self.condition(),
            self.version(),
            self.lost(true)
        );
        Some(text)
    }

    /// What became of patches that [`Writer::change`] did not return: `(place, there, applicable, lost, version, creates)`.
    pub(super) fn look(&self) -> String {
        let creates = match self.kind {
            Kind::Put { seen: false } | Kind::Replace => "true",
            Kind::CompareAndSet => "p.\"=\" OPERATOR(pg_catalog.=) 0",
            Kind::Put { seen: true } | Kind::Edit | Kind::Delete => "false",
        };
        // Of a row that is not there nothing is asked: a user's function may not like to be shown nulls.
        let is_there = format!("t.{} IS NOT NULL", self.layout.key[0].column);
        let of_row = |condition: &str| is_true(&format!("CASE WHEN {is_there} THEN {condition} END"));
        format!(
            "SELECT p.\"#\", {is_there}, {}, {}, {}, {creates} FROM {} LEFT JOIN {} AS t ON {}",
            of_row(&self.condition()),
            of_row(&self.lost(false)),
            self.version(),
            self.source(Stamps::Contested),
            self.layout.relation,
            self.key_match()
        )
    }

    /// The row's clock after the patch, if the patch has stamps; the trigger has the last word.
    fn clock(&self) -> Option<String> {
        let merged = || self.merged().filter(|field| !self.is_contested(field));
        if self.kind == Kind::CompareAndSet {
            // It writes now, also what stands there already: what was buffered before must not undo it. Who came first
            // came first, whatever is written over it.
            let set = || self.fields.iter().filter(|f| matches!(f.rule, Rule::Lww | Rule::Json(_)));
            set().next()?;
            let (set, stamped) = (numbers(set()), numbers(self.layout.stamped()));
            return Some(format!(
                "cache_sync_internal.clock_after(ARRAY[$2], t.cs_clock, t.cs_version, {set}, {stamped})"
            ));
        }
        if self.contested().next().is_none() && !merged().any(|field| field.rule.is_stamped()) {
            return None;
        }
        // A document that is alone needs no more than its own stamps.
        let is_alone =
            self.contested().next().is_none() && matches!(self.fields[..], [FieldColumn { rule: Rule::Json(_), .. }]);
        let mut clock = match is_alone {
            true => "NULL::pg_catalog.bytea".to_owned(),
            false => format!(
                "cache_sync_internal.clock_after(p.\"@stamps\", t.cs_clock, t.cs_version, {}, {})",
                numbers(self.contested()),
                numbers(self.layout.stamped())
            ),
        };
        for field in merged() {
            match field.rule {
                Rule::First => {
                    let (wins, stamp) = (self.is_first(field), self.stamp(field));
                    clock = format!(
                        "cache_sync_internal.clock_first({clock}, {wins}, {}::pg_catalog.int2, {stamp})",
                        field.id
                    );
                }
                Rule::Json(_) => {
                    clock = self.document("clock", field).replacen('(', &format!("({clock}, "), 1);
                }
                _ => {}
            }
        }
        Some(clock)
    }

    /// INSERT of rows that do not exist, returning `(place, 0, version, false)`; a place is null for a row whose key a
    /// trigger changed.
    pub(super) fn insert(&self) -> String {
        let layout = self.layout;
        let keys: Vec<_> = layout.key.iter().map(|key| key.column.as_str()).collect();
        let mut columns: Vec<_> = keys.iter().copied().chain(self.fields.iter().map(|f| f.column.as_str())).collect();
        let mut values: Vec<_> = keys.iter().map(|column| format!("p.{column}")).collect();
        values.extend(self.fields.iter().map(|field| self.fresh(field)));
        if layout.stamped().next().is_some() && self.uses_stamps() {
            columns.push("cs_clock");
            let clock = format!(
                "cache_sync_internal.clock_new(p.\"@stamps\", {}, {})",
                numbers(self.stamped()),
                numbers(layout.stamped())
            );
            let dated = self.fields.iter().filter(|field| self.is_dated(field));
            values.push(dated.fold(clock, |clock, field| self.clock_of_parts(&clock, field)));
        }
        let join: Vec<_> = keys.iter().map(|key| format!("i.{key} OPERATOR(pg_catalog.=) p.{key}")).collect();
        let version = if layout.versioned { "cs_version" } else { "0::pg_catalog.int8 AS cs_version" };
        format!(
            "WITH p AS MATERIALIZED (SELECT * FROM {}), i AS (INSERT INTO {} ({}){} SELECT {} FROM p \
             ON CONFLICT ({}) DO NOTHING RETURNING {}, {version}) \
             SELECT p.\"#\", 0::pg_catalog.int8, COALESCE(i.cs_version, 0), false FROM i LEFT JOIN p ON {}",
            self.source(Stamps::All),
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
        if self.kind == Kind::CompareAndSet {
            required.push("=".to_owned());
        } else if self.uses_stamps() {
            let own: Vec<_> = self.own_stamps().map(|field| format!("@{}", field.id)).collect();
            required.extend(if own.is_empty() { vec!["@".to_owned()] } else { own });
        }
        required
    }

    /// The members that it may have: stamps that this shape has no use for.
    pub(super) fn optional(&self) -> Vec<String> {
        let own = self.fields.iter().filter(|_| self.each).map(|field| format!("@{}", field.id));
        std::iter::once("@".to_owned()).chain(own).collect()
    }

    /// The fields whose values are lists of patches with stamps of their own.
    pub(super) fn dated(&self) -> Vec<String> {
        self.fields.iter().filter(|field| self.is_dated(field)).map(|field| field.name.clone()).collect()
    }

    /// Whether the statements ask for stamps: an edit of other fields leaves them alone.
    fn uses_stamps(&self) -> bool {
        // A patch may have been made under a rule with stamps that the field has no more.
        let is_any = self.layout.stamped().next().is_some() || self.stamped().next().is_some();
        match self.kind {
            Kind::CompareAndSet => false,
            Kind::Edit => is_any && self.stamped().next().is_some(),
            Kind::Put { .. } | Kind::Replace | Kind::Delete => is_any,
        }
    }

    fn stamped(&self) -> impl Iterator<Item = &FieldColumn> {
        self.fields.iter().filter(|field| field.rule.is_stamped())
    }

    fn contested(&self) -> impl Iterator<Item = &FieldColumn> {
        self.fields.iter().filter(|field| self.is_contested(field))
    }

    /// The fields that come with a stamp of their own; a document has them in its value.
    fn own_stamps(&self) -> impl Iterator<Item = &FieldColumn> {
        self.stamped().filter(|field| self.has_own_stamp(field))
    }

    fn has_own_stamp(&self, field: &FieldColumn) -> bool {
        self.each && field.rule.is_stamped() && !self.is_dated(field)
    }

    /// The fields that change in a row that exists.
    fn merged(&self) -> impl Iterator<Item = &FieldColumn> {
        let is_put = matches!(self.kind, Kind::Put { .. });
        self.fields.iter().filter(move |field| !(is_put && field.rule.is_left_by_put()))
    }

    /// The patches, sorted by key so that everybody locks rows in the same order, with stamps that are believed.
    fn source(&self, stamps: Stamps) -> String {
        let mut columns = String::from("\"#\" pg_catalog.int4");
        let mut selected = String::from("r.\"#\"");
        for key in &self.layout.key {
            let _ = write!(columns, ", {} {}", key.column, key.declared);
            let _ = write!(selected, ", r.{}", key.column);
        }
        let is_change = |field: &FieldColumn| matches!(field.rule, Rule::Add | Rule::Union) && self.kind == Kind::Edit;
        for field in &self.fields {
            let is_change = is_change(field);
            let _ = write!(columns, ", {} {}", field.column, if is_change { &field.change } else { &field.declared });
            if is_change && field.change == "numeric" {
                let _ = write!(selected, ", cache_sync_internal.finite(r.{c}) AS {c}", c = field.column);
            } else {
                let _ = write!(selected, ", r.{}", field.column);
            }
        }
        if self.kind == Kind::CompareAndSet {
            columns += ", \"=\" pg_catalog.int8";
            selected += ", COALESCE(r.\"=\", 0) AS \"=\"";
        }
        if self.uses_stamps() {
            columns += ", \"@\" pg_catalog.int8";
            selected += ", LEAST(r.\"@\", $2) AS \"@\"";
            for field in self.own_stamps() {
                let own = own_stamp(field);
                let _ = write!(columns, ", {own} pg_catalog.int8");
                let _ = write!(selected, ", LEAST(r.{own}, $2) AS {own}");
            }
            let stamp = |field: &FieldColumn| match self.has_own_stamp(field) {
                true => format!("LEAST(r.{}, $2)", own_stamp(field)),
                false => "LEAST(r.\"@\", $2)".to_owned(),
            };
            let mut own: Vec<_> = match stamps {
                _ if !self.each => Vec::new(),
                Stamps::Contested => self.contested().map(stamp).collect(),
                Stamps::All => self.stamped().map(stamp).collect(),
            };
            if own.is_empty() {
                own.push("LEAST(r.\"@\", $2)".to_owned());
            }
            let _ = write!(selected, ", ARRAY[{}] AS \"@stamps\"", own.join(", "));
        }
        let is_plain = self.fields.iter().all(|field| is_change(field) || field.is_plain);
        let read = if is_plain { "cache_sync_internal.patches" } else { "pg_catalog.json_to_recordset" };
        format!("(SELECT {selected} FROM {read}($1) AS r({columns}) ORDER BY {}) AS p", key_order(self.layout, "r"))
    }

    fn key_match(&self) -> String {
        key_match(self.layout)
    }

    fn version(&self) -> &'static str {
        if self.layout.versioned { "COALESCE(t.cs_version, 0)" } else { "0::pg_catalog.int8" }
    }

    /// The field's stamp in the patch.
    fn stamp(&self, field: &FieldColumn) -> String {
        format!("p.{}", if self.has_own_stamp(field) { own_stamp(field) } else { "\"@\"".to_owned() })
    }

    /// How the field's stamp in the patch stands to the row's: 1, 0 or -1.
    pub(super) fn compare(&self, field: &FieldColumn) -> String {
        let stamp = self.stamp(field);
        format!("cache_sync_internal.compare({stamp}, t.cs_clock, t.cs_version, {}::pg_catalog.int2)", field.id)
    }

    /// Whether the field is decided by value, for the patch.
    pub(super) fn wins_tie(&self, field: &FieldColumn) -> String {
        format!(
            "({} OPERATOR(pg_catalog.=) 0 AND cache_sync_internal.is_larger({}, t.{}))",
            self.compare(field),
            self.fresh(field),
            field.column
        )
    }

    /// Whether the patch wins something, or changes something.
    fn condition(&self) -> String {
        match self.kind {
            Kind::Delete if self.uses_stamps() => {
                return format!(
                    "NOT cache_sync_internal.loses(p.\"@stamps\", t.cs_clock, t.cs_version, {})",
                    numbers(self.layout.stamped())
                );
            }
            Kind::Delete => return "true".to_owned(),
            Kind::CompareAndSet => {
                return format!(
                    "(p.\"=\" OPERATOR(pg_catalog.<>) 0 AND {} OPERATOR(pg_catalog.=) p.\"=\")",
                    self.version()
                );
            }
            Kind::Edit | Kind::Put { .. } | Kind::Replace => {}
        }
        let mut reasons = Vec::new();
        if self.contested().next().is_some() {
            let wins = format!(
                "cache_sync_internal.wins(p.\"@stamps\", t.cs_clock, t.cs_version, {})",
                numbers(self.contested())
            );
            let ties = any(self.contested().map(|field| self.wins_tie(field)));
            reasons.push(format!("{wins} OPERATOR(pg_catalog.>) 0 OR {wins} OPERATOR(pg_catalog.=) 0 AND {ties}"));
        }
        reasons.extend(self.merged().filter(|field| !self.is_contested(field)).map(|field| self.changes(field)));
        any(reasons.into_iter())
    }

    /// Whether some field of the patch does not stand in the row `t`: the row after the patch, or one that the patch
    /// did not change.
    fn lost(&self, after: bool) -> String {
        match self.kind {
            Kind::Delete => return format!("NOT {}", is_true(&self.condition())),
            Kind::CompareAndSet => return "false".to_owned(),
            Kind::Edit | Kind::Put { .. } | Kind::Replace => {}
        }
        let mut reasons = Vec::new();
        if self.contested().next().is_some() {
            let fields = numbers(self.contested());
            reasons.push(format!("cache_sync_internal.loses(p.\"@stamps\", t.cs_clock, t.cs_version, {fields})"));
            let differ = any(self
                .contested()
                .map(|f| format!("cache_sync_internal.differs(t.{}, {})", f.column, self.fresh(f))));
            if after {
                reasons.push(format!("(cache_sync_internal.replaced_tie() AND ({differ}))"));
            } else {
                reasons.push(format!("({differ})"));
            }
        }
        let others = self.merged().filter(|field| !self.is_contested(field));
        reasons.extend(others.filter_map(|field| self.loses(field, after)));
        any(reasons.into_iter())
    }
}

/// Which stamps a statement needs of patches whose fields have stamps of their own.
#[derive(Clone, Copy)]
enum Stamps {
    /// Those of the fields that are contested.
    Contested,
    /// Those of all that have one.
    All,
}

/// A string in SQL, whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

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
