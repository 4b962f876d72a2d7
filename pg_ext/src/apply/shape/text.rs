//! The SQL texts of a shape; what each rule is there says [`super::rule`].
//!
//! `$1` is a json array of patches, `$2` the time: a stamp far above it is not believed. `p` is the patches in the order of their
//! keys, `t` the table. Types are written out, functions and operators are those of pg_catalog or of the extension,
//! whatever the caller's search_path says.

use super::layout::FieldColumn;
use super::source::AskedStamps;
use super::sql::{any, is_true, key_match, numbers};
use super::writer::Writer;
use cache_sync_core::patch::PatchKind;
use cache_sync_core::rule::Rule;
use std::fmt::Write;

impl Writer<'_> {
    /// UPDATE (or DELETE) of the rows that exist, returning `(place, replaced, version, lost)`; `None` when the shape
    /// changes nothing of a row that exists.
    pub(super) fn change(&self) -> Option<String> {
        let mut text = String::with_capacity(2048);
        let relation = &self.layout.relation;
        if self.kind == PatchKind::Delete {
            let version = self.version();
            text += &format!(
                "DELETE FROM {relation} AS t USING {} WHERE {} AND {} RETURNING p.\"#\", {version}, 0::pg_catalog.int8, \
                 false",
                self.source(AskedStamps::Contested),
                key_match(self.layout),
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
            self.source(AskedStamps::Contested),
            key_match(self.layout),
            self.condition(),
            self.version(),
            self.lost(true)
        );
        Some(text)
    }

    /// What became of patches that [`Writer::change`] did not return: `(place, there, applicable, lost, version, creates)`.
    pub(super) fn look(&self) -> String {
        let creates = match self.kind {
            PatchKind::Put { seen: false } | PatchKind::Replace => "true",
            PatchKind::CompareAndSet => "COALESCE(p.\"=\", 0) OPERATOR(pg_catalog.=) 0",
            PatchKind::Put { seen: true } | PatchKind::Edit | PatchKind::Delete => "false",
        };
        // Of a row that is not there nothing is asked: a user's function may not like to be shown nulls.
        let is_there = format!("t.{} IS NOT NULL", self.layout.key[0].column);
        let of_row = |condition: &str| is_true(&format!("CASE WHEN {is_there} THEN {condition} END"));
        format!(
            "SELECT p.\"#\", {is_there}, {}, {}, {}, {creates} FROM {} LEFT JOIN {} AS t ON {}",
            of_row(&self.condition()),
            of_row(&self.lost(false)),
            self.version(),
            self.source(AskedStamps::Contested),
            self.layout.relation,
            key_match(self.layout)
        )
    }

    /// The row's clock after the patch, if the patch has stamps; the trigger has the last word.
    fn clock(&self) -> Option<String> {
        let merged = || self.merged().filter(|field| !self.is_contested(field));
        if self.kind == PatchKind::CompareAndSet {
            if !self.layout.versioned {
                return None;
            }
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
            self.source(AskedStamps::All),
            layout.relation,
            columns.join(", "),
            if layout.identity { " OVERRIDING SYSTEM VALUE" } else { "" },
            values.join(", "),
            keys.join(", "),
            keys.join(", "),
            join.join(" AND ")
        )
    }

    /// Whether the patch wins something, or changes something.
    fn condition(&self) -> String {
        match self.kind {
            PatchKind::Delete if self.uses_stamps() => {
                return format!(
                    "NOT cache_sync_internal.loses(p.\"@stamps\", t.cs_clock, t.cs_version, {})",
                    numbers(self.layout.stamped())
                );
            }
            PatchKind::Delete => return "true".to_owned(),
            PatchKind::CompareAndSet => {
                // Who expects 0 expects no row; who has seen no version also takes a row that has none.
                return format!(
                    "((p.\"=\" IS NULL OR p.\"=\" OPERATOR(pg_catalog.<>) 0) AND {} OPERATOR(pg_catalog.=) \
                     COALESCE(p.\"=\", 0))",
                    self.version()
                );
            }
            PatchKind::Edit | PatchKind::Put { .. } | PatchKind::Replace => {}
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
            PatchKind::Delete => return format!("NOT {}", is_true(&self.condition())),
            PatchKind::CompareAndSet => return "false".to_owned(),
            PatchKind::Edit | PatchKind::Put { .. } | PatchKind::Replace => {}
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
