//! What a rule is in SQL: the value of a field after a patch, whether a patch changes it, and what of it is lost.
//!
//! `t.f` is the row's value, `p.f` the patch's.

use super::layout::FieldColumn;
use super::sql::literal;
use super::writer::Writer;
use cache_sync_core::patch::PatchKind;
use cache_sync_core::rule::Rule;

impl Writer<'_> {
    /// The field's value in a row that a patch creates or replaces.
    pub(super) fn fresh(&self, field: &FieldColumn) -> String {
        let (column, ty) = (&field.column, &field.declared);
        match &field.rule {
            // Where the column's type is a domain, these functions return its base type, which compares with nothing.
            Rule::Append { cap: Some(cap) } => format!("cache_sync_internal.last_of(p.{column}, {cap})::{ty}"),
            Rule::Json(_) => {
                let (rule, is_dated) = (literal(&field.rule_text()), self.is_dated(field));
                format!("cache_sync_internal.document_fresh({rule}, p.{column}, {is_dated})::{ty}")
            }
            _ => format!("p.{column}"),
        }
    }

    /// The field's value after the patch.
    pub(super) fn value(&self, field: &FieldColumn) -> String {
        let column = &field.column;
        if self.is_contested(field) {
            // The condition has decided the contest of this very row.
            return format!(
                "CASE WHEN cache_sync_internal.all_win(p.\"@stamps\", t.cs_version) THEN {fresh} WHEN {compare} \
                 OPERATOR(pg_catalog.>) 0 THEN {fresh} WHEN {} THEN {fresh} ELSE t.{column} END",
                self.wins_tie(field),
                compare = self.compare(field),
                fresh = self.fresh(field),
            );
        }
        match &field.rule {
            _ if self.sets_values() => self.fresh(field),
            Rule::Lww | Rule::Arrival => format!("p.{column}"),
            Rule::First => format!("CASE WHEN {} THEN p.{column} ELSE t.{column} END", self.is_first(field)),
            Rule::Add => format!("COALESCE(t.{column} OPERATOR(pg_catalog.+) p.{column}, t.{column}, p.{column})"),
            Rule::Max => format!("GREATEST(t.{column}, p.{column})"),
            Rule::Min => format!("LEAST(t.{column}, p.{column})"),
            Rule::Append { cap } => {
                let joined = if field.is_array {
                    format!("t.{column} OPERATOR(pg_catalog.||) p.{column}")
                } else {
                    format!("cache_sync_internal.joined(t.{column}, p.{column})")
                };
                cap.map_or(joined.clone(), |cap| format!("cache_sync_internal.last_of({joined}, {cap})"))
            }
            Rule::Union => format!("cache_sync_internal.united(t.{column}, p.{column})"),
            Rule::Json(_) => self.document("value", field),
            Rule::Function(_) => self.call(field),
        }
    }

    /// Whether the patch changes the field; none for contested fields, whose stamps decide together.
    pub(super) fn changes(&self, field: &FieldColumn) -> String {
        let column = &field.column;
        match &field.rule {
            Rule::First if !self.sets_values() => self.is_first(field),
            Rule::Json(_) if !self.sets_values() => self.document("changes", field),
            Rule::Append { .. } if !self.sets_values() => {
                let length = if field.is_array {
                    format!("cardinality(p.{column})")
                } else {
                    // Refuses what is no list, with words that say why.
                    format!("jsonb_array_length(cache_sync_internal.joined(NULL::pg_catalog.jsonb, p.{column}))")
                };
                format!("pg_catalog.{length} OPERATOR(pg_catalog.>) 0")
            }
            Rule::Union if !self.sets_values() => self.value(field).replacen("united(", "unites(", 1),
            // Assigning the sum makes it the column's type again, so it must be compared as that.
            Rule::Add | Rule::Union | Rule::Function(_) => {
                format!("cache_sync_internal.differs(t.{column}, ({})::{})", self.value(field), field.declared)
            }
            _ => format!("cache_sync_internal.differs(t.{column}, {})", self.value(field)),
        }
    }

    /// Whether the patch's value does not stand in the row `t`: the row after the patch, or one that the patch did not
    /// change. `None` where every patch leaves its mark.
    pub(super) fn loses(&self, field: &FieldColumn, after: bool) -> Option<String> {
        let column = &field.column;
        match &field.rule {
            _ if self.sets_values() => None,
            Rule::Max | Rule::Min => Some(format!("cache_sync_internal.differs(t.{column}, p.{column})")),
            Rule::First => {
                Some(format!("(p.{column} IS NOT NULL AND cache_sync_internal.differs(t.{column}, p.{column}))"))
            }
            Rule::Json(_) if after => Some(format!("cache_sync_internal.document_lost({}::pg_catalog.int2)", field.id)),
            Rule::Json(_) => Some(self.document("loses", field)),
            _ => None,
        }
    }

    /// Whether the patch is the first write of the field.
    pub(super) fn is_first(&self, field: &FieldColumn) -> String {
        let column = &field.column;
        let compare = self.compare(field);
        format!(
            "(p.{column} IS NOT NULL AND (t.{column} IS NULL OR {compare} OPERATOR(pg_catalog.<) 0 \
             OR ({compare} OPERATOR(pg_catalog.=) 0 AND cache_sync_internal.is_larger(p.{column}, t.{column}))))"
        )
    }

    /// One of the functions over documents. They share their arguments: the rule, whether the patch brings changes and
    /// whether it brings stamps of its own, values, stamp (or, with own stamps, the largest that is believed), and the
    /// row's clock, version and field.
    pub(super) fn document(&self, function: &str, field: &FieldColumn) -> String {
        format!(
            "cache_sync_internal.document_{function}({}, {}, {}, t.{c}, p.{c}, {}, t.cs_clock, t.cs_version, \
             {}::pg_catalog.int2)",
            literal(&field.rule_text()),
            self.kind == PatchKind::Edit,
            self.each,
            if self.each { "$2" } else { "p.\"@\"" },
            field.id,
            c = field.column,
        )
    }

    /// A clock with the stamps of a document that patches of different times create.
    pub(super) fn clock_of_parts(&self, clock: &str, field: &FieldColumn) -> String {
        format!(
            "cache_sync_internal.document_clock_fresh({clock}, {}, p.{}, $2, {}::pg_catalog.int2)",
            literal(&field.rule_text()),
            field.column,
            field.id
        )
    }

    /// The user's function. One that is strict is not asked about nulls: a value stands against none.
    fn call(&self, field: &FieldColumn) -> String {
        let column = &field.column;
        let Some(function) = &field.function else { return format!("p.{column}") };
        let ty = &function.argument;
        let called = format!(
            "cache_sync_internal.not_null({}(t.{column}::{ty}, p.{column}::{ty}), {})",
            function.name,
            literal(&function.name)
        );
        if function.strict {
            format!(
                "CASE WHEN t.{column} IS NULL THEN p.{column} WHEN p.{column} IS NULL THEN t.{column} ELSE {called} END"
            )
        } else {
            called
        }
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
}
