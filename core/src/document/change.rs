//! Changes of documents: from two states, and two patches as one.

use super::levels::{below, levels_of};
use super::object::{Members, Object, text};
use crate::json::{Json, unescaped};
use crate::number::Stamp;
use crate::paths::{Path, Paths};
use crate::rule::{DocumentRule, Rule};
use crate::value::{self, CannotMerge};

/// Notes that somebody else made `after` out of `before` at `stamp`: only what changed is stamped anew.
pub fn note_change(rule: &DocumentRule, before: Option<&str>, after: Option<&str>, stamp: Stamp, paths: &mut Paths) {
    let before = before.map(|text| Json::new(text.as_bytes()));
    let after = after.map(|text| Json::new(text.as_bytes()));
    note_changes(levels_of(rule), before, after, stamp, &mut Path::default(), paths);
    paths.bound();
}

/// The patch that makes `after` out of `before`; `None` when nothing changed.
///
/// # Errors
/// [`CannotMerge`] when the rule of a member cannot express its change.
pub fn difference(rule: &DocumentRule, before: Option<&str>, after: &str) -> Result<Option<String>, CannotMerge> {
    let mut out = String::new();
    let before = before.map(|text| Json::new(text.as_bytes())).filter(|value| value.text() != b"null");
    let is_any = write_difference(Some(rule), levels_of(rule), before, Json::new(after.as_bytes()), &mut out)?;
    Ok(is_any.then_some(out))
}

/// Two patches of one document, the earlier one without what the later one says again; `None` when the order of the two
/// matters to a member's rule. The earlier one may be left with nothing to say.
pub fn coalesce(rule: &DocumentRule, earlier: &str, later: &str) -> Option<(Option<String>, String)> {
    let (earlier, later) = (Json::new(earlier.as_bytes()), Json::new(later.as_bytes()));
    if !earlier.is_object() || !later.is_object() || levels_of(rule) == 0 {
        return Some((
            (later.is_object() && levels_of(rule) > 0).then(|| text(earlier).to_owned()),
            text(later).to_owned(),
        ));
    }
    let (mut left, mut right) = (Object::new(), Object::new());
    let later_members = Members::of(later);
    for (key, value) in earlier.members() {
        let name = unescaped(key);
        let other = later_members.get(&name);
        match (rule.members.get(&*name), other) {
            (_, None) => left.add(key, text(value)),
            (None, Some(other)) => {
                let mut rest = String::new();
                if write_rest(below(levels_of(rule)), value, other, &mut rest) {
                    left.add(key, &rest);
                }
            }
            (Some(Rule::Json(inner)), Some(other)) => {
                let mut rest = String::new();
                if write_rest(levels_of(inner), value, other, &mut rest) {
                    left.add(key, &rest);
                }
            }
            (Some(Rule::Lww), Some(_)) => {}
            (Some(Rule::First), Some(_)) if value.text() == b"null" => {}
            (Some(Rule::First), Some(_)) => left.add(key, text(value)),
            (Some(rule), Some(other)) => right.add(key, &value::coalesce(rule, text(value), text(other))?),
        }
    }
    let earlier_members = Members::of(earlier);
    for (key, value) in later.members() {
        let name = unescaped(key);
        match (rule.members.get(&*name), earlier_members.get(&name)) {
            (None | Some(Rule::Json(_) | Rule::Lww), _) | (_, None) => right.add(key, text(value)),
            (Some(Rule::First), Some(before)) if before.text() == b"null" => right.add(key, text(value)),
            _ => {}
        }
    }
    let is_empty = left.is_empty() && earlier.members().next().is_some();
    Some(((!is_empty).then(|| left.end()), right.end()))
}

fn note_changes(
    levels: u32,
    before: Option<Json<'_>>,
    after: Option<Json<'_>>,
    stamp: Stamp,
    path: &mut Path,
    paths: &mut Paths,
) {
    match (before, after) {
        (Some(a), Some(b)) if a.text() == b.text() => {}
        (None, None) => {}
        (Some(before), Some(after)) if levels > 0 && before.is_object() && after.is_object() => {
            let (old, new) = (Members::of(before), Members::of(after));
            let gone = before.members().filter(|(key, _)| new.get(&unescaped(key)).is_none());
            for (key, value) in after.members() {
                let name = unescaped(key);
                let before = old.get(&name);
                path.within(&name, |path| note_changes(below(levels), before, Some(value), stamp, path, paths));
            }
            for (key, value) in gone {
                path.within(&unescaped(key), |path| note_changes(below(levels), Some(value), None, stamp, path, paths));
            }
        }
        _ => paths.overwrite(path.as_bytes(), stamp),
    }
}

fn write_difference(
    rule: Option<&DocumentRule>,
    levels: u32,
    before: Option<Json<'_>>,
    after: Json<'_>,
    out: &mut String,
) -> Result<bool, CannotMerge> {
    let is_same = before.map_or(after.text() == b"null", |before| before.is_same(after));
    if is_same {
        return Ok(false);
    }
    let Some(before) = before.filter(|before| levels > 0 && before.is_object() && after.is_object()) else {
        out.push_str(text(after));
        return Ok(true);
    };
    let (old, new) = (Members::of(before), Members::of(after));
    let mut object = Object::new();
    let mut one = String::new();
    let gone = before
        .members()
        .filter(|(key, _)| new.get(&unescaped(key)).is_none())
        .map(|(key, _)| (key, Json::new(b"null")));
    for (key, value) in after.members().chain(gone) {
        let name = unescaped(key);
        let before = old.get(&name);
        one.clear();
        let is_any = match rule.and_then(|rule| rule.members.get(&*name)) {
            None => write_difference(None, below(levels), before, value, &mut one)?,
            Some(Rule::Lww) => write_difference(None, 0, before, value, &mut one)?,
            Some(Rule::Json(inner)) => write_difference(None, levels_of(inner), before, value, &mut one)?,
            Some(rule) => match value::difference(rule, before.map(text), text(value))? {
                Some(change) => {
                    one.push_str(&change);
                    true
                }
                None => false,
            },
        };
        if is_any {
            object.add(key, &one);
        }
    }
    let is_any = !object.is_empty();
    out.push_str(&object.end());
    Ok(is_any)
}

/// What an earlier patch says that a later one does not say again.
fn write_rest(levels: u32, earlier: Json<'_>, later: Json<'_>, out: &mut String) -> bool {
    if levels == 0 || !later.is_object() {
        return false;
    }
    if !earlier.is_object() {
        // It removes what was there before; the later one builds upon that.
        out.push_str(text(earlier));
        return true;
    }
    let later = Members::of(later);
    let mut object = Object::new();
    let mut one = String::new();
    for (key, value) in earlier.members() {
        match later.get(&unescaped(key)) {
            None => object.add(key, text(value)),
            Some(later) => {
                one.clear();
                if write_rest(below(levels), value, later, &mut one) {
                    object.add(key, &one);
                }
            }
        }
    }
    let is_any = !object.is_empty() || earlier.members().next().is_none();
    out.push_str(&object.end());
    is_any
}
