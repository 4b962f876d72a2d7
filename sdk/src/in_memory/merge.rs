//! What a patch makes of a row: the rules are core's, and so are the stamps' ways.

use super::rows::Row;
use super::table::Defined;
use super::types::{Misfit, kept};
use cache_sync_core::document::{self, Way};
use cache_sync_core::merge::{self, order};
use cache_sync_core::number::{FieldId, Stamp};
use cache_sync_core::outcome::Verdict;
use cache_sync_core::patch::{Expected, PatchKind};
use cache_sync_core::paths::Paths;
use cache_sync_core::rule::{DocumentRule, Rule};
use std::cmp::Ordering;

/// A patch as it arrives.
pub(super) struct Incoming {
    pub(super) kind: PatchKind,
    pub(super) expected: Expected,
    /// When it was written last.
    pub(super) stamp: Stamp,
    pub(super) fields: Vec<Field>,
}

/// A field of it.
pub(super) struct Field {
    pub(super) id: FieldId,
    /// The value; of a document several patches, each with its stamp, where `is_dated`.
    pub(super) text: String,
    pub(super) stamp: Stamp,
    pub(super) is_dated: bool,
}

/// What becomes of it.
pub(super) struct Merged {
    pub(super) verdict: Verdict,
    /// The row is what the rules make of the values as they were sent.
    pub(super) exact: bool,
    /// The row after it, if that is another one; `Some(None)`: it is deleted.
    pub(super) after: Option<Option<Row>>,
}

impl Merged {
    fn nothing(verdict: Verdict) -> Merged {
        Merged { verdict, exact: true, after: None }
    }
}

/// What the patch makes of the row.
pub(super) fn merged(patch: &Incoming, row: Option<&Row>, table: &Defined) -> Result<Merged, Misfit> {
    check_types(patch, table)?;
    let versioned = table.meta.versioned;
    let row = match (patch.kind, row) {
        (PatchKind::Delete | PatchKind::Edit | PatchKind::Put { seen: true }, None) => {
            return Ok(Merged::nothing(Verdict::Missing));
        }
        (PatchKind::CompareAndSet, None) if matches!(patch.expected, Expected::Version(_)) => {
            return Ok(Merged::nothing(Verdict::Missing));
        }
        (_, None) => return created(patch, table),
        (_, Some(row)) => row,
    };
    match patch.kind {
        PatchKind::Delete => {
            let is_beaten = versioned && newest(row, table).is_some_and(|newest| newest > patch.stamp);
            let verdict = if is_beaten { Verdict::Superseded } else { Verdict::Applied };
            Ok(Merged { verdict, exact: true, after: (!is_beaten).then_some(None) })
        }
        PatchKind::CompareAndSet if !is_expected(patch.expected, row) => Ok(Merged::nothing(Verdict::Conflict)),
        _ => changed(patch, row, table),
    }
}

/// Whether the values are of their columns' types, whatever becomes of them. A change of a set is not.
fn check_types(patch: &Incoming, table: &Defined) -> Result<(), Misfit> {
    for field in patch.fields.iter().filter(|field| !field.is_dated) {
        let column = table.columns.get(usize::from(field.id.0.unsigned_abs()).wrapping_sub(1));
        if let (Some(column), false) = (column, matches!(table.rule(field.id), Some(Rule::Union))) {
            kept(&column.ty, &field.text)?;
        }
    }
    Ok(())
}

fn is_expected(expected: Expected, row: &Row) -> bool {
    match expected {
        Expected::Nothing => row.version == 0,
        Expected::Absence => false,
        Expected::Version(version) => version.0 == row.version,
    }
}

/// When anything in the row was written last that has a stamp.
fn newest(row: &Row, table: &Defined) -> Option<Stamp> {
    let stamped = table.meta.fields.iter().filter(|field| field.rule.is_stamped());
    stamped.map(|field| row.paths(field.id).newest()).max()
}

/// A row that the patch makes.
fn created(patch: &Incoming, table: &Defined) -> Result<Merged, Misfit> {
    let mut row = Row::default();
    let mut exact = true;
    // What the patch does not carry counts as written with it.
    let is_stamped = |field: &&Field| table.rule(field.id).is_some_and(Rule::is_stamped);
    let stamp = |field: &Field| if field.is_dated { patch.stamp } else { field.stamp };
    let newest = patch.fields.iter().filter(is_stamped).map(stamp).max().unwrap_or(patch.stamp);
    for (id, column) in table.numbered() {
        let incoming = patch.fields.iter().find(|field| field.id == id);
        let stamp = incoming.map_or(newest, |field| field.stamp);
        let (value, stamps) = match (incoming, table.rule(id)) {
            (Some(field), Some(Rule::Json(rule))) if field.is_dated => first_parts(rule, field)?,
            (Some(field), Some(rule)) => (merge::fresh(rule, &field.text).into_owned(), Paths::all(stamp)),
            _ => {
                let default = table.defaults.get(&id).cloned();
                (default.unwrap_or_else(|| "null".to_owned()), Paths::all(stamp))
            }
        };
        let value_kept = kept(&column.ty, &value)?;
        exact &= value_kept == value && (incoming.is_some() || value == "null");
        row.values.insert(id, value_kept.into_owned());
        row.stamps.insert(id, stamps);
    }
    Ok(Merged { verdict: Verdict::Applied, exact, after: Some(Some(row)) })
}

/// The document that patches of different times make where there is none, and its stamps.
fn first_parts(rule: &DocumentRule, field: &Field) -> Result<(String, Paths), Misfit> {
    let dated = dated(field);
    let mut parts = merge::dated(&dated, field.stamp).into_iter();
    let Some((stamp, first)) = parts.next() else { return Ok(("null".to_owned(), Paths::all(field.stamp))) };
    let (mut text, mut paths) = (document::fresh(rule, first), Paths::all(stamp));
    for (stamp, part) in parts {
        text = document::merge(rule, text.as_deref(), part, Way::Put, stamp, &mut paths).map_err(cannot)?.text;
    }
    Ok((text.unwrap_or_else(|| "null".to_owned()), paths))
}

fn cannot(refused: merge::CannotMerge) -> Misfit {
    Misfit { sqlstate: "22023", message: refused.to_string() }
}

/// The value of a document as core takes several patches of different times.
fn dated(field: &Field) -> String {
    if field.is_dated { format!("@{}", field.text) } else { field.text.clone() }
}

fn changed(patch: &Incoming, row: &Row, table: &Defined) -> Result<Merged, Misfit> {
    let is_put = matches!(patch.kind, PatchKind::Put { .. });
    let mut after = row.clone();
    let (mut lost, mut changed, mut exact) = (0, false, true);
    for field in &patch.fields {
        let (Some(rule), Some(column)) = (table.rule(field.id), table.columns.get(field.id.0 as usize - 1)) else {
            continue;
        };
        if is_put && rule.is_left_by_put() {
            continue;
        }
        let one = One { patch, field, rule, current: row.value(field.id) };
        let Step { value, is_lost, stamps } = one.step(&row.paths(field.id))?;
        lost += u32::from(is_lost);
        if let Some(stamps) = stamps {
            changed |= table.meta.versioned && stamps != row.paths(field.id) && rule.is_stamped() && value.is_some();
            after.stamps.insert(field.id, stamps);
        }
        if let Some(value) = value {
            let value_kept = kept(&column.ty, &value)?;
            exact &= value_kept == value;
            // What is put at the end of a list changes it, be it full; nothing put there does not, even where there was no list.
            changed |= match rule {
                Rule::Append { .. } => !matches!(&*field.text, "[]" | "null"),
                _ => *value_kept != *row.value(field.id),
            };
            after.values.insert(field.id, value_kept.into_owned());
        }
    }
    // Whoever wins it has written.
    changed |= patch.kind == PatchKind::CompareAndSet && !patch.fields.is_empty();
    let verdict = match (lost, changed) {
        (0, false) => Verdict::Unchanged,
        (0, true) => Verdict::Applied,
        (_, false) => Verdict::Superseded,
        (_, true) => Verdict::Merged,
    };
    Ok(Merged { verdict, exact, after: changed.then_some(Some(after)) })
}

/// A field of a patch, and what the row has there.
struct One<'a> {
    patch: &'a Incoming,
    field: &'a Field,
    rule: &'a Rule,
    current: &'a str,
}

/// What becomes of a field.
struct Step {
    /// Its value, if the patch has a say in it.
    value: Option<String>,
    is_lost: bool,
    /// Its stamps, if these are others.
    stamps: Option<Paths>,
}

impl One<'_> {
    fn step(&self, paths: &Paths) -> Result<Step, Misfit> {
        let One { patch, field, rule, current } = self;
        let is_replacing = patch.kind == PatchKind::Replace;
        let is_contested = match rule {
            Rule::Lww => patch.kind != PatchKind::CompareAndSet,
            Rule::First | Rule::Json(_) => is_replacing,
            _ => false,
        };
        let fresh = || merge::fresh(rule, &dated(field)).into_owned();
        let whole = || Some(Paths::all(field.stamp));
        if is_contested {
            return Ok(self.contest(paths, fresh()));
        }
        if patch.kind == PatchKind::CompareAndSet {
            return Ok(self.set(paths, fresh()));
        }
        if is_replacing {
            return Ok(Step { value: Some(fresh()), is_lost: false, stamps: whole() });
        }
        if let Rule::Json(document) = rule {
            let mut paths = paths.clone();
            let way = if matches!(patch.kind, PatchKind::Put { .. }) { Way::Put } else { Way::Edit };
            let (mut text, mut is_lost) = (Some((*current).to_owned()), false);
            let all = dated(field);
            for (stamp, part) in merge::dated(&all, field.stamp) {
                let merged =
                    document::merge(document, text.as_deref(), part, way, stamp, &mut paths).map_err(cannot)?;
                is_lost |= merged.is_lost;
                text = merged.text;
            }
            return Ok(Step { value: Some(text.unwrap_or_else(|| "null".to_owned())), is_lost, stamps: Some(paths) });
        }
        if matches!(rule, Rule::First) {
            return Ok(self.first(paths));
        }
        let value = merge::merge(rule, Some(current), &field.text).map_err(cannot)?.into_owned();
        let is_lost = matches!(rule, Rule::Max | Rule::Min) && value != field.text;
        Ok(Step { value: Some(value), is_lost, stamps: None })
    }

    /// The earlier one, by stamp; of equal ones the larger value. Null is no write.
    fn first(&self, paths: &Paths) -> Step {
        let (incoming, stamp) = (&self.field.text, self.field.stamp);
        let is_earlier = match stamp.cmp(&paths.newest()) {
            Ordering::Less => true,
            Ordering::Equal => order(incoming, self.current).is_gt(),
            Ordering::Greater => false,
        };
        if incoming == "null" {
            return Step { value: None, is_lost: false, stamps: None };
        }
        if self.current == "null" || is_earlier {
            return Step { value: Some(incoming.clone()), is_lost: false, stamps: Some(Paths::all(stamp)) };
        }
        Step { value: None, is_lost: incoming != self.current, stamps: None }
    }

    /// Compare-and-set writes now what it carries, be it another value or not; what was written first stays as old as it was.
    fn set(&self, paths: &Paths, value: String) -> Step {
        let stays = matches!(self.rule, Rule::First) && (self.current != "null" || value == "null");
        let stamps = if stays { paths.clone() } else { Paths::all(self.field.stamp) };
        Step { value: Some(value), is_lost: false, stamps: Some(stamps) }
    }

    /// By stamp; of equal ones the larger value.
    fn contest(&self, paths: &Paths, fresh: String) -> Step {
        let wins = match self.field.stamp.cmp(&paths.newest()) {
            Ordering::Greater => true,
            Ordering::Equal => self.current == "null" || order(&fresh, self.current).is_gt(),
            Ordering::Less => false,
        };
        let is_lost = !wins && (self.field.stamp < paths.newest() || fresh != self.current);
        Step { value: wins.then_some(fresh), is_lost, stamps: wins.then(|| Paths::all(self.field.stamp)) }
    }
}

/// What plain SQL sets is as old as that where it is another value; of a field that was written first that stays so.
pub(super) fn note_change(rule: &Rule, before: &str, after: &str, now: Stamp, paths: &mut Paths) {
    let there = |value| Some(value).filter(|value| *value != "null");
    match rule {
        Rule::Json(rule) => document::note_change(rule, there(before), there(after), now, paths),
        Rule::First if before != "null" => {}
        _ if before != after => *paths = Paths::all(now),
        _ => {}
    }
}
