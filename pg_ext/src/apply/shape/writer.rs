//! Who writes the statements of a shape, and what there is to know of its fields.

use super::layout::{FieldColumn, Layout};
use super::sql::own_stamp;
use cache_sync_core::patch::PatchKind;
use cache_sync_core::rule::Rule;

/// Writes the statements of one shape.
pub(super) struct Writer<'a> {
    pub(super) layout: &'a Layout,
    pub(super) kind: PatchKind,
    /// The fields that the shape carries.
    pub(super) fields: Vec<FieldColumn>,
    /// Whether every field comes with a stamp of its own.
    pub(super) each: bool,
}

impl Writer<'_> {
    /// The members that a patch's JSON object must have.
    pub(super) fn required(&self) -> Vec<String> {
        let keys = self.layout.key.iter().map(|key| key.name.clone());
        let fields = self.fields.iter().map(|field| field.name.clone());
        let mut required: Vec<_> = std::iter::once("#".to_owned()).chain(keys).chain(fields).collect();
        if self.kind == PatchKind::CompareAndSet {
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
    pub(super) fn uses_stamps(&self) -> bool {
        // A patch may have been made under a rule with stamps that the field has no more.
        let is_any = self.layout.stamped().next().is_some() || self.stamped().next().is_some();
        match self.kind {
            PatchKind::CompareAndSet => false,
            PatchKind::Edit => is_any && self.stamped().next().is_some(),
            PatchKind::Put { .. } | PatchKind::Replace | PatchKind::Delete => is_any,
        }
    }

    pub(super) fn stamped(&self) -> impl Iterator<Item = &FieldColumn> {
        self.fields.iter().filter(|field| field.rule.is_stamped())
    }

    pub(super) fn contested(&self) -> impl Iterator<Item = &FieldColumn> {
        self.fields.iter().filter(|field| self.is_contested(field))
    }

    /// The fields that come with a stamp of their own; a document has them in its value.
    pub(super) fn own_stamps(&self) -> impl Iterator<Item = &FieldColumn> {
        self.stamped().filter(|field| self.has_own_stamp(field))
    }

    pub(super) fn has_own_stamp(&self, field: &FieldColumn) -> bool {
        self.each && field.rule.is_stamped() && !self.is_dated(field)
    }

    /// Whether a row that exists may lose by it what somebody else has written there meanwhile, where no stamp says so.
    pub(super) fn overwrites(&self) -> bool {
        match self.kind {
            PatchKind::Delete | PatchKind::Replace | PatchKind::CompareAndSet => true,
            PatchKind::Edit | PatchKind::Put { .. } => {
                self.merged().any(|field| matches!(field.rule, Rule::Arrival | Rule::Lww))
            }
        }
    }

    /// The fields that change in a row that exists.
    pub(super) fn merged(&self) -> impl Iterator<Item = &FieldColumn> {
        let is_put = matches!(self.kind, PatchKind::Put { .. });
        self.fields.iter().filter(move |field| !(is_put && field.rule.is_left_by_put()))
    }

    /// Whether the field's stamp alone decides, so that the last write wins.
    pub(super) fn is_contested(&self, field: &FieldColumn) -> bool {
        match &field.rule {
            Rule::Lww => self.kind != PatchKind::CompareAndSet,
            Rule::First | Rule::Json(_) => self.kind == PatchKind::Replace,
            _ => false,
        }
    }

    /// Whether the field's value is a list of patches with their stamps.
    pub(super) fn is_dated(&self, field: &FieldColumn) -> bool {
        self.each && matches!(field.rule, Rule::Json(_)) && !self.sets_values()
    }

    /// Whether what is not contested is set, and not merged.
    pub(super) fn sets_values(&self) -> bool {
        matches!(self.kind, PatchKind::Replace | PatchKind::CompareAndSet)
    }

    pub(super) fn version(&self) -> &'static str {
        if self.layout.versioned { "COALESCE(t.cs_version, 0)" } else { "0::pg_catalog.int8" }
    }

    /// The field's stamp in the patch.
    pub(super) fn stamp(&self, field: &FieldColumn) -> String {
        format!("p.{}", if self.has_own_stamp(field) { own_stamp(field) } else { "\"@\"".to_owned() })
    }

    /// How the field's stamp in the patch stands to the row's: 1, 0 or -1.
    pub(super) fn compare(&self, field: &FieldColumn) -> String {
        let stamp = self.stamp(field);
        format!("cache_sync_internal.compare({stamp}, t.cs_clock, t.cs_version, {}::pg_catalog.int2)", field.id)
    }
}
