//! The pending change of one key, and how two of them coalesce.

use crate::merge::{self, NotANumber};
use crate::number::Stamp;
use crate::rule::Rule;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The place of a field in its table's list of fields.
pub type FieldIndex = u16;

/// Values by field, as JSON texts.
pub type Fields = BTreeMap<FieldIndex, Box<RawValue>>;

/// What a patch wants of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
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
}

/// One field's part of a patch.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The value to be merged by the field's rule.
    pub value: Box<RawValue>,
    /// When it was written.
    pub stamp: Stamp,
}

/// The pending change of one key.
#[derive(Clone, Debug)]
pub struct Patch {
    /// What it wants of its row.
    pub kind: Kind,
    /// When it was written last; a deletion's stamp.
    pub stamp: Stamp,
    /// The fields it carries; none for a deletion.
    pub fields: BTreeMap<FieldIndex, Incoming>,
}

/// Roughly how much memory a patch takes whose values are of these lengths, in bytes.
pub fn size(values: impl Iterator<Item = usize>) -> usize {
    const PER_FIELD: usize = 48;
    const PER_PATCH: usize = 64;
    PER_PATCH + values.map(|len| len + PER_FIELD).sum::<usize>()
}

impl Patch {
    /// A patch whose fields were all written at once.
    pub fn new(kind: Kind, stamp: Stamp, fields: Fields) -> Patch {
        let fields = fields.into_iter().map(|(field, value)| (field, Incoming { value, stamp })).collect();
        Patch { kind, stamp, fields }
    }

    /// This patch and a later one as one patch.
    ///
    /// # Errors
    /// Both, unchanged, when their order could not be kept in one patch: the later one waits for the next batch.
    pub fn coalesce(self, later: Patch, rule: impl Fn(FieldIndex) -> Rule) -> Result<Patch, Box<(Patch, Patch)>> {
        use Kind::{Delete, Edit, Put, Replace};
        let kind = match (self.kind, later.kind) {
            (_, Delete) => return Ok(later),
            (Delete, Put { .. } | Replace) => return Ok(Patch { kind: Replace, ..later }),
            (_, Replace) => return Ok(later),
            (Delete, Edit) => return Err(Box::new((self, later))),
            (Put { seen: a }, Put { seen: b }) => Put { seen: a && b },
            (Edit, Put { .. }) if !self.covered_by(&later) => return Err(Box::new((self, later))),
            (Edit, put @ Put { .. }) => put,
            (earlier, _) => earlier,
        };
        let Some(values) = self.merged_values(&later, rule) else { return Err(Box::new((self, later))) };
        let stamp = self.stamp.max(later.stamp);
        let mut fields = self.fields;
        for ((field, incoming), value) in later.fields.into_iter().zip(values) {
            match value {
                Merged::Later => drop(fields.insert(field, incoming)),
                Merged::Earlier => {}
                Merged::Both(value) => drop(fields.insert(field, Incoming { value, stamp: incoming.stamp })),
            }
        }
        Ok(Patch { kind, stamp, fields })
    }

    /// What the row looks like with this patch, as far as a client can tell; `None` when it is (or stays) absent.
    ///
    /// # Errors
    /// [`NotANumber`] when a rule meets a value that it cannot work on.
    pub fn preview(
        &self,
        row: Option<Fields>,
        rule: impl Fn(FieldIndex) -> Rule,
    ) -> Result<Option<Fields>, NotANumber> {
        let mut row = match (self.kind, row) {
            (Kind::Delete, _) | (Kind::Edit | Kind::Put { seen: true }, None) => return Ok(None),
            (_, None) => return Ok(Some(self.values())),
            (Kind::Replace, Some(mut row)) => {
                row.extend(self.values());
                return Ok(Some(row));
            }
            (_, Some(row)) => row,
        };
        for (field, incoming) in &self.fields {
            let rule = rule(*field);
            if matches!(self.kind, Kind::Put { .. }) && rule.is_left_by_put() {
                continue;
            }
            let value = merge::merge(rule, row.get(field).map(|value| &**value), &incoming.value)?;
            row.insert(*field, value);
        }
        Ok(Some(row))
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn size(&self) -> usize {
        size(self.fields.values().map(|incoming| incoming.value.get().len()))
    }

    fn values(&self) -> Fields {
        self.fields.iter().map(|(field, incoming)| (*field, incoming.value.clone())).collect()
    }

    fn covered_by(&self, later: &Patch) -> bool {
        self.fields.keys().all(|field| later.fields.contains_key(field))
    }

    /// What becomes of each field of the later patch; `None` if they cannot be one patch.
    fn merged_values(&self, later: &Patch, rule: impl Fn(FieldIndex) -> Rule) -> Option<Vec<Merged>> {
        let one = |(field, incoming): (&FieldIndex, &Incoming)| {
            let (rule, earlier) = (rule(*field), self.fields.get(field));
            if self.kind == Kind::Replace {
                over_replacement(rule, earlier, incoming, later.is_put())
            } else {
                over_patch(rule, earlier, incoming, (self.is_put(), later.is_put()))
            }
        };
        later.fields.iter().map(one).collect()
    }

    fn is_put(&self) -> bool {
        matches!(self.kind, Kind::Put { .. })
    }
}

/// Which value a field has in the coalesced patch.
enum Merged {
    Earlier,
    Later,
    Both(Box<RawValue>),
}

/// A field that puts leave alone has one meaning in a put (its first value) and another in an edit (a change), so the
/// two never become one.
fn over_patch(
    rule: Rule,
    earlier: Option<&Incoming>,
    later: &Incoming,
    (earlier_is_put, later_is_put): (bool, bool),
) -> Option<Merged> {
    match earlier {
        None if rule.is_left_by_put() && earlier_is_put => None,
        None => Some(Merged::Later),
        Some(_) if rule.is_left_by_put() && earlier_is_put != later_is_put => None,
        Some(_) if rule.is_left_by_put() && later_is_put => Some(Merged::Earlier),
        Some(earlier) => both(rule, earlier, later),
    }
}

/// A replacement's values are the row's, so what follows merges into them as it would into the row.
fn over_replacement(rule: Rule, earlier: Option<&Incoming>, later: &Incoming, later_is_put: bool) -> Option<Merged> {
    match earlier {
        None => Some(Merged::Later),
        Some(_) if later_is_put && rule.is_left_by_put() => Some(Merged::Earlier),
        Some(earlier) => both(rule, earlier, later),
    }
}

fn both(rule: Rule, earlier: &Incoming, later: &Incoming) -> Option<Merged> {
    match rule {
        Rule::Lww | Rule::Arrival => Some(Merged::Later),
        Rule::Add | Rule::Max | Rule::Min => merge::coalesce(rule, &earlier.value, &later.value).map(Merged::Both),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fields 0 to 2 are `lww`, 3 adds, 4 is a maximum.
    fn rule(field: FieldIndex) -> Rule {
        [Rule::Lww, Rule::Lww, Rule::Arrival, Rule::Add, Rule::Max][usize::from(field)]
    }

    fn fields(values: &[(FieldIndex, i64)]) -> Fields {
        values.iter().map(|(field, value)| (*field, RawValue::from_string(value.to_string()).unwrap())).collect()
    }

    fn patch(kind: Kind, stamp: i64, values: &[(FieldIndex, i64)]) -> Patch {
        Patch::new(kind, Stamp(stamp), fields(values))
    }

    fn plain(row: &Option<Fields>) -> Option<Vec<(FieldIndex, String)>> {
        row.as_ref().map(|row| row.iter().map(|(field, value)| (*field, value.get().to_owned())).collect())
    }

    #[test]
    fn edits_merge_into_edits() {
        let both =
            patch(Kind::Edit, 1, &[(0, 1), (3, 2)]).coalesce(patch(Kind::Edit, 2, &[(0, 9), (3, 5)]), rule).unwrap();
        assert_eq!(both.fields[&0].value.get(), "9");
        assert_eq!(both.fields[&3].value.get(), "7");
        assert_eq!(both.fields[&0].stamp, Stamp(2));
    }

    #[test]
    fn delete_then_put_is_replace() {
        let both = patch(Kind::Delete, 1, &[]).coalesce(patch(Kind::Put { seen: false }, 2, &[(3, 5)]), rule).unwrap();
        assert_eq!(both.kind, Kind::Replace);
    }

    #[test]
    fn what_would_change_its_meaning_waits() {
        let put = || patch(Kind::Put { seen: false }, 1, &[(0, 1), (3, 2)]);
        assert!(put().coalesce(patch(Kind::Edit, 2, &[(3, 1)]), rule).is_err());
        assert!(patch(Kind::Edit, 1, &[(3, 1)]).coalesce(put(), rule).is_err());
        assert!(patch(Kind::Edit, 1, &[(1, 1)]).coalesce(put(), rule).is_err());
        assert!(patch(Kind::Delete, 1, &[]).coalesce(patch(Kind::Edit, 2, &[(0, 1)]), rule).is_err());
    }

    fn any_patch() -> impl Strategy<Value = Patch> {
        let kind = prop_oneof![
            4 => Just(Kind::Edit),
            2 => any::<bool>().prop_map(|seen| Kind::Put { seen }),
            1 => Just(Kind::Replace),
            1 => Just(Kind::Delete),
        ];
        (kind, proptest::collection::vec(-9i64..9, 5), 1u8..32).prop_map(|(kind, values, mask)| {
            let whole = matches!(kind, Kind::Put { .. } | Kind::Replace);
            let chosen: Vec<_> = (0..5u16)
                .filter(|field| whole || mask & (1 << field) != 0)
                .map(|field| (field, values[usize::from(field)]))
                .collect();
            patch(kind, 1, if kind == Kind::Delete { &[] } else { &chosen })
        })
    }

    proptest! {
        /// The coalesced patch makes the same row as the two one after the other, wherever the row exists, and
        /// wherever both create it. (A put after one's own deletion has not seen the row, whatever was seen before.)
        #[test]
        fn coalescing_changes_nothing(a in any_patch(), b in any_patch(), row in proptest::collection::vec(-9i64..9, 5), exists: bool) {
            let row = exists.then(|| fields(&(0..5u16).map(|field| (field, row[usize::from(field)])).collect::<Vec<_>>()));
            let one_after_the_other = b.preview(a.preview(row.clone(), rule).unwrap(), rule).unwrap();
            prop_assume!(!(a.kind == Kind::Delete && b.kind == Kind::Put { seen: true }));
            let creates = |patch: &Patch| matches!(patch.kind, Kind::Put { seen: false } | Kind::Replace);
            if let Ok(both) = a.clone().coalesce(b.clone(), rule)
                && (exists || (creates(&a) && creates(&b))) {
                    prop_assert_eq!(plain(&both.preview(row, rule).unwrap()), plain(&one_after_the_other));
                }
        }
    }
}
