//! The pending change of one key, and how two of them coalesce.

use crate::fields::{FieldIndex, Fields};
use crate::merge::{self, CannotMerge};
use crate::number::{Stamp, Version};
use crate::rule::Rule;
use smallvec::SmallVec;
use std::borrow::Cow;

/// What a patch wants of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PatchKind {
    /// Change fields of a row that exists; never creates.
    Edit,
    /// Set the fields; creates the row, unless the writer had seen it and it is gone.
    Put {
        /// Whether a load or an outcome had shown the writer that the row exists.
        seen: bool,
    },
    /// Set the fields, counters and lists too; creates the row.
    Replace,
    /// Delete the row.
    Delete,
    /// Set the fields, whatever their rules, if the row has the version that the writer expects.
    CompareAndSet,
}

/// What a compare-and-set expects of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No row, or one without a version.
    Nothing,
    /// No row.
    Absence,
    /// A row of this version.
    Version(Version),
}

/// The pending change of one key.
#[derive(Clone, Debug)]
pub struct RowPatch {
    /// What it wants of its row.
    pub kind: PatchKind,
    /// When it was written last; a deletion's stamp.
    pub stamp: Stamp,
    /// What a compare-and-set expects.
    pub expected: Expected,
    fields: Fields,
    /// When each field was written, in their order; empty when that is `stamp` for all of them.
    own_stamps: Vec<Stamp>,
}

/// Roughly how much memory a patch with these fields takes, in bytes, with what a client keeps beside it.
pub fn size(fields: &Fields) -> usize {
    const PER_FIELD: usize = 16;
    const PER_PATCH: usize = 512;
    PER_PATCH + PER_FIELD * fields.len() + fields.text_capacity()
}

impl RowPatch {
    /// A patch whose fields were all written at once.
    pub fn new(kind: PatchKind, stamp: Stamp, fields: Fields) -> RowPatch {
        RowPatch { kind, stamp, expected: Expected::Nothing, fields, own_stamps: Vec::new() }
    }

    /// A compare-and-set of these fields.
    pub fn expecting(expected: Expected, stamp: Stamp, fields: Fields) -> RowPatch {
        RowPatch { expected, ..RowPatch::new(PatchKind::CompareAndSet, stamp, fields) }
    }

    /// The values to be merged by the fields' rules; none for a deletion.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Whether its fields were written at different times.
    pub fn is_each_stamped(&self) -> bool {
        !self.own_stamps.is_empty()
    }

    /// Each field with its value and when it was written.
    pub fn incoming(&self) -> impl Iterator<Item = (FieldIndex, &str, Stamp)> {
        self.fields.iter().zip(self.stamps()).map(|((field, value), stamp)| (field, value, stamp))
    }

    /// This patch and a later one as one patch.
    ///
    /// # Errors
    /// Both, unchanged, when their order could not be kept in one patch: the later one waits for the next batch.
    pub fn coalesce<'r>(
        self,
        later: RowPatch,
        rule: impl Fn(FieldIndex) -> &'r Rule,
    ) -> Result<RowPatch, Box<(RowPatch, RowPatch)>> {
        use PatchKind::{CompareAndSet, Delete, Edit, Put, Replace};
        let kind = match (self.kind, later.kind) {
            // Whether it wins is for its own writer to hear.
            (CompareAndSet, _) | (_, CompareAndSet) => return Err(Box::new((self, later))),
            (_, Delete) => return Ok(later),
            (Delete, Put { .. } | Replace) => return Ok(RowPatch { kind: Replace, ..later }),
            (_, Replace) => return Ok(later),
            (Delete, Edit) => return Err(Box::new((self, later))),
            (Put { seen: a }, Put { seen: b }) => Put { seen: a && b },
            (Edit, Put { .. }) if !self.covered_by(&later) => return Err(Box::new((self, later))),
            (Edit, put @ Put { .. }) => put,
            (earlier, _) => earlier,
        };
        match self.merged(&later, kind, rule) {
            Some(both) => Ok(both),
            None => Err(Box::new((self, later))),
        }
    }

    /// What the row looks like with this patch, as far as a client can tell; `None` when it is (or stays) absent.
    ///
    /// # Errors
    /// [`CannotMerge`] when a rule meets a value that it cannot work on, or only Postgres can.
    pub fn preview<'r>(
        &self,
        row: Option<Fields>,
        rule: impl Fn(FieldIndex) -> &'r Rule,
    ) -> Result<Option<Fields>, CannotMerge> {
        let is_there = row.is_some();
        let row = match (self.kind, row) {
            (PatchKind::Delete, _) | (PatchKind::Edit | PatchKind::Put { seen: true }, None) => return Ok(None),
            (_, None) => Fields::new(),
            (_, Some(row)) => row,
        };
        let mut after = Fields::with_capacity(row.text_len() + self.fields.text_len());
        for (field, current, incoming) in row.zip(&self.fields) {
            let rule = rule(field);
            let is_left = self.is_put() && is_there && rule.is_left_by_put();
            let value = match (current, incoming.filter(|_| !is_left)) {
                (_, Some(incoming))
                    if !is_there || matches!(self.kind, PatchKind::Replace | PatchKind::CompareAndSet) =>
                {
                    merge::fresh(rule, incoming)
                }
                (_, Some(incoming)) if self.is_put() => merge::put(rule, current, incoming)?,
                (_, Some(incoming)) => merge::merge(rule, current, incoming)?,
                (Some(current), None) => current.into(),
                (None, None) => continue,
            };
            after.insert(field, &value);
        }
        Ok(Some(after))
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn size(&self) -> usize {
        size(&self.fields)
    }

    fn covered_by(&self, later: &RowPatch) -> bool {
        self.fields.indexes().all(|field| later.fields.get(field).is_some())
    }

    /// Both as a patch of this kind; `None` if they cannot be one.
    fn merged<'r>(&self, later: &RowPatch, kind: PatchKind, rule: impl Fn(FieldIndex) -> &'r Rule) -> Option<RowPatch> {
        let mut fields = Fields::with_capacity(self.fields.text_len() + later.fields.text_len());
        let mut stamps = SmallVec::<[Stamp; 8]>::new();
        let (mut own, mut others) = (self.stamps(), later.stamps());
        for (field, before, value) in self.fields.zip(&later.fields) {
            let before = before.and_then(|before| Some((before, own.next()?)));
            let value = value.and_then(|value| Some((value, others.next()?)));
            let (value, stamp) = match (before, value) {
                (before, Some(value)) => self.field_with(later, rule(field), before, value)?,
                (Some((before, stamp)), None) => (before.into(), stamp),
                (None, None) => continue,
            };
            fields.insert(field, &value);
            stamps.push(stamp);
        }
        let stamp = self.stamp.max(later.stamp);
        let is_one = stamps.iter().all(|own| *own == stamp) && !fields.iter().any(|(_, value)| merge::is_dated(value));
        let own_stamps = if is_one { Vec::new() } else { stamps.into_vec() };
        Some(RowPatch { kind, stamp, expected: Expected::Nothing, fields, own_stamps })
    }

    /// When each field was written, in their order.
    fn stamps(&self) -> impl Iterator<Item = Stamp> {
        (0..self.fields.len()).map(|place| self.own_stamps.get(place).copied().unwrap_or(self.stamp))
    }

    /// A field of the later patch in both as one, over what the field had before; `None` if that cannot be said.
    fn field_with<'a>(
        &self,
        later: &RowPatch,
        rule: &Rule,
        before: Option<(&'a str, Stamp)>,
        (value, stamp): (&'a str, Stamp),
    ) -> Option<(Cow<'a, str>, Stamp)> {
        let is_left = rule.is_left_by_put();
        let Some((before, before_stamp)) = before else {
            // A field that puts leave alone has one meaning in a put (its first value) and another in an edit (a
            // change), so the two never become one.
            return match self.kind {
                PatchKind::Put { .. } if is_left => None,
                // Its values are the row's, not changes.
                PatchKind::Replace => Some((merge::fresh(rule, value), stamp)),
                _ => Some((value.into(), stamp)),
            };
        };
        match rule {
            // A replacement's values are the row's: what follows merges into them.
            _ if self.kind == PatchKind::Replace && later.is_put() && is_left => Some((before.into(), before_stamp)),
            _ if self.kind == PatchKind::Replace => {
                merge::merge(rule, Some(before), value).ok().map(|value| (value, stamp))
            }
            _ if is_left && self.is_put() != later.is_put() => None,
            _ if is_left && later.is_put() => Some((before.into(), before_stamp)),
            Rule::Json(document) if (self.is_put() || later.is_put()) && document.is_left_by_put() => None,
            Rule::First if before != "null" => Some((before.into(), before_stamp)),
            _ => merge::coalesce(rule, (before, before_stamp), (value, stamp)).map(|value| (value, stamp)),
        }
    }

    fn is_put(&self) -> bool {
        matches!(self.kind, PatchKind::Put { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fields 0 to 2 are set, 3 adds, 4 is a maximum.
    fn rule(field: FieldIndex) -> &'static Rule {
        static RULES: [Rule; 5] = [Rule::Lww, Rule::Lww, Rule::Arrival, Rule::Add, Rule::Max];
        &RULES[usize::from(field)]
    }

    fn fields(values: &[(FieldIndex, i64)]) -> Fields {
        values.iter().map(|(field, value)| (*field, value.to_string())).collect()
    }

    fn patch(kind: PatchKind, stamp: i64, values: &[(FieldIndex, i64)]) -> RowPatch {
        RowPatch::new(kind, Stamp(stamp), fields(values))
    }

    fn plain(row: &Option<Fields>) -> Option<Vec<(FieldIndex, String)>> {
        row.as_ref().map(|row| row.iter().map(|(field, value)| (field, value.to_owned())).collect())
    }

    #[test]
    fn edits_merge_into_edits() {
        let both = patch(PatchKind::Edit, 1, &[(0, 1), (3, 2)])
            .coalesce(patch(PatchKind::Edit, 2, &[(0, 9), (3, 5)]), rule)
            .unwrap();
        assert_eq!(both.fields.get(0), Some("9"));
        assert_eq!(both.fields.get(3), Some("7"));
        assert!(!both.is_each_stamped());
        assert_eq!(both.incoming().next(), Some((0, "9", Stamp(2))));
    }

    #[test]
    fn each_field_keeps_its_stamp() {
        let both = patch(PatchKind::Edit, 1, &[(0, 1), (1, 2)])
            .coalesce(patch(PatchKind::Edit, 2, &[(1, 9), (2, 5)]), rule)
            .unwrap();
        assert!(both.is_each_stamped());
        let stamped: Vec<_> = both.incoming().collect();
        assert_eq!(stamped, [(0, "1", Stamp(1)), (1, "9", Stamp(2)), (2, "5", Stamp(2))]);
    }

    #[test]
    fn delete_then_put_is_replace() {
        let both = patch(PatchKind::Delete, 1, &[])
            .coalesce(patch(PatchKind::Put { seen: false }, 2, &[(3, 5)]), rule)
            .unwrap();
        assert_eq!(both.kind, PatchKind::Replace);
    }

    #[test]
    fn what_would_change_its_meaning_waits() {
        let put = || patch(PatchKind::Put { seen: false }, 1, &[(0, 1), (3, 2)]);
        assert!(put().coalesce(patch(PatchKind::Edit, 2, &[(3, 1)]), rule).is_err());
        assert!(patch(PatchKind::Edit, 1, &[(3, 1)]).coalesce(put(), rule).is_err());
        assert!(patch(PatchKind::Edit, 1, &[(1, 1)]).coalesce(put(), rule).is_err());
        assert!(patch(PatchKind::Delete, 1, &[]).coalesce(patch(PatchKind::Edit, 2, &[(0, 1)]), rule).is_err());
    }

    proptest! {
        /// A field that both patches carry has the stamp of the later write, or of the earlier one if that is what stays.
        #[test]
        fn every_field_keeps_the_stamp_of_its_write(writes in proptest::collection::vec((1i64..50, 0u16..5), 1..6)) {
            let mut all: Option<RowPatch> = None;
            let mut last = std::collections::BTreeMap::new();
            for (stamp, field) in writes {
                let edit = patch(PatchKind::Edit, stamp, &[(field, stamp)]);
                last.insert(field, stamp);
                all = Some(match all { None => edit, Some(all) => all.coalesce(edit, |_| &Rule::Arrival).unwrap() });
            }
            let all = all.unwrap();
            let stamps: Vec<_> = all.incoming().map(|(field, _, stamp)| (field, stamp.0)).collect();
            prop_assert_eq!(stamps, last.into_iter().collect::<Vec<_>>());
        }
    }

    fn any_patch() -> impl Strategy<Value = RowPatch> {
        let kind = prop_oneof![
            4 => Just(PatchKind::Edit),
            2 => any::<bool>().prop_map(|seen| PatchKind::Put { seen }),
            1 => Just(PatchKind::Replace),
            1 => Just(PatchKind::Delete),
        ];
        (kind, proptest::collection::vec(-9i64..9, 5), 1u8..32).prop_map(|(kind, values, mask)| {
            let whole = matches!(kind, PatchKind::Put { .. } | PatchKind::Replace);
            let chosen: Vec<_> = (0..5u16)
                .filter(|field| whole || mask & (1 << field) != 0)
                .map(|field| (field, values[usize::from(field)]))
                .collect();
            patch(kind, 1, if kind == PatchKind::Delete { &[] } else { &chosen })
        })
    }

    proptest! {
        /// The coalesced patch makes the same row as the two one after the other, wherever the row exists, and
        /// wherever both create it. (A put after one's own deletion has not seen the row, whatever was seen before.)
        #[test]
        fn coalescing_changes_nothing(a in any_patch(), b in any_patch(), row in proptest::collection::vec(-9i64..9, 5), exists: bool) {
            let row = exists.then(|| fields(&(0..5u16).map(|field| (field, row[usize::from(field)])).collect::<Vec<_>>()));
            let one_after_the_other = b.preview(a.preview(row.clone(), rule).unwrap(), rule).unwrap();
            prop_assume!(!(a.kind == PatchKind::Delete && b.kind == PatchKind::Put { seen: true }));
            let creates = |patch: &RowPatch| matches!(patch.kind, PatchKind::Put { seen: false } | PatchKind::Replace);
            if let Ok(both) = a.clone().coalesce(b.clone(), rule)
                && (exists || (creates(&a) && creates(&b))) {
                    prop_assert_eq!(plain(&both.preview(row, rule).unwrap()), plain(&one_after_the_other));
                }
        }
    }
}
