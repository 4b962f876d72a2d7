//! Merges JSON documents, path by path.
//!
//! What a client sends of a document is a *document patch*, as in RFC 7396: an object changes the members that it has,
//! null removes, everything else is the new value. Values that are not objects, arrays among them, and objects that lie
//! deeper than the rule merges are one value, and the last write wins.
//!
//! Of two writes of which one makes a path an object and the other a plain value, what was written later below the path
//! stays: so the order in which patches arrive does not matter. Members with rules of their own follow these.

use crate::json::{Json, unescaped};
use crate::number::Stamp;
use crate::paths::{Path, Paths};
use crate::rule::{DocumentRule, Rule};
use crate::value::{self, CannotMerge};
use std::borrow::Cow;

/// So many levels merge at most: bounds the stack.
const LEVELS_MAX: u32 = 100;

/// What a patch wants of the document's own members that add, append and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It brings changes of them.
    Edit,
    /// It brings values, which count only where there is none.
    Put,
}

/// What a patch made of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The document; `None` when the patch removed it as a whole.
    pub text: Option<String>,
    /// Whether a value or a stamp is another one now.
    pub is_applied: bool,
    /// Whether something in the patch was beaten by a later write.
    pub is_lost: bool,
}

/// Merges a patch made at `stamp` into a document, and notes in `paths` what was written when.
///
/// # Errors
/// [`CannotMerge`] when the rule of a member meets a value that it cannot work on.
pub fn merge(
    rule: &DocumentRule,
    current: Option<&str>,
    incoming: &str,
    way: Way,
    stamp: Stamp,
    paths: &mut Paths,
) -> Result<Merged, CannotMerge> {
    let mut text = String::with_capacity(current.map_or(0, str::len) + incoming.len());
    let current = current.map(|text| Json::new(text.as_bytes())).filter(|value| value.text() != b"null");
    let incoming = Json::new(incoming.as_bytes());
    if write_all(rule, current, incoming, stamp, paths, &mut text) {
        return Ok(Merged { text: Some(text), is_applied: true, is_lost: false });
    }
    let place =
        Place { levels: levels_of(rule), here: paths.base(), present: paths.present(), absent: paths.base(), current };
    let mut merger = Merger { rule, way, stamp, paths, is_applied: false, is_lost: false, failure: None };
    let is_there = merger.at(&mut Path::default(), place, incoming, &mut text);
    let (is_applied, is_lost, failure) = (merger.is_applied, merger.is_lost, merger.failure);
    *paths = std::mem::replace(paths, Paths::all(Stamp(0))).bounded();
    match failure {
        Some(failure) => Err(failure),
        None => Ok(Merged { text: is_there.then_some(text), is_applied, is_lost }),
    }
}

/// The document that a patch makes where there is none.
pub fn fresh(rule: &DocumentRule, incoming: &str) -> Option<String> {
    let mut out = String::with_capacity(incoming.len());
    write_fresh(levels_of(rule), Json::new(incoming.as_bytes()), &mut out).then_some(out)
}

/// Notes that somebody else made `after` out of `before` at `stamp`: only what changed is stamped anew.
pub fn note_change(rule: &DocumentRule, before: Option<&str>, after: Option<&str>, stamp: Stamp, paths: &mut Paths) {
    let before = before.map(|text| Json::new(text.as_bytes()));
    let after = after.map(|text| Json::new(text.as_bytes()));
    note_changes(levels_of(rule), before, after, stamp, &mut Path::default(), paths);
    *paths = std::mem::replace(paths, Paths::all(Stamp(0))).bounded();
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

struct Merger<'a> {
    rule: &'a DocumentRule,
    way: Way,
    stamp: Stamp,
    paths: &'a mut Paths,
    is_applied: bool,
    is_lost: bool,
    failure: Option<CannotMerge>,
}

/// A place in the document.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// How many levels of objects merge from here on.
    levels: u32,
    /// When what is here, or that nothing is, was written.
    here: Stamp,
    /// The stamps of what is below, and of what is not, as far as the paths above say.
    present: Stamp,
    absent: Stamp,
    current: Option<Json<'a>>,
}

impl Merger<'_> {
    /// Writes what stands at the path afterwards, and says whether anything does.
    fn at(&mut self, path: &mut Path, place: Place<'_>, incoming: Json<'_>, out: &mut String) -> bool {
        let place = match self.paths.exact(path) {
            // It is newer than what a patch wrote that set everything, or else not one of the paths that were there then.
            Some(own) => {
                let own = own.max(place.absent);
                Place { here: own, present: own, absent: own, ..place }
            }
            None => place,
        };
        if place.levels > 0 && incoming.is_object() {
            self.object(path, place, incoming, out)
        } else {
            self.value(path, place, incoming, out)
        }
    }

    fn object(&mut self, path: &mut Path, place: Place<'_>, incoming: Json<'_>, out: &mut String) -> bool {
        let current = place.current.filter(|current| current.is_object());
        if current.is_none() {
            if self.stamp < place.here {
                return self.lose(place.current, out);
            }
            if place.present != place.absent && !path.is_root() {
                // It is not one of the things that a patch wrote which set everything.
                self.paths.restamp(path, place.here);
            }
            self.is_applied = true;
        }
        let members = Members::of(incoming);
        if members.is_empty() && self.stamp >= place.here {
            self.is_applied |= self.paths.note_object(path, self.stamp);
        }
        let is_root = path.is_root();
        let mut object = Object::new();
        let mut one = String::new();
        let now = current.into_iter().flat_map(Json::members).map(|(key, value)| (key, Some(value)));
        let known = Members::maybe(current);
        let new =
            incoming.members().filter(|(key, _)| known.get(&unescaped(key)).is_none()).map(|(key, _)| (key, None));
        for (key, value) in now.chain(new) {
            let name = unescaped(key);
            let Some(incoming) = members.get(&name) else {
                value.into_iter().for_each(|value| object.add(key, text(value)));
                continue;
            };
            one.clear();
            // An object is not written: what is in it is.
            let is_value = value.is_some_and(|value| place.levels == 1 || !value.is_object());
            let here = if is_value { place.present } else { place.absent };
            let member = Place { levels: below(place.levels), here, current: value, ..place };
            let rule = if is_root { self.rule.members.get(&*name) } else { None };
            let is_there = path.within(&name, |path| match rule {
                None => self.at(path, member, incoming, &mut one),
                Some(Rule::Lww) => self.at(path, Place { levels: 0, ..member }, incoming, &mut one),
                Some(Rule::Json(inner)) => {
                    self.at(path, Place { levels: levels_of(inner), ..member }, incoming, &mut one)
                }
                Some(Rule::First) => self.first(path, member, incoming, &mut one),
                Some(rule) => self.by_rule(rule, member, incoming, &mut one),
            });
            if is_there {
                object.add(key, &one);
            }
        }
        out.push_str(&object.end());
        true
    }

    /// The last write of a value wins.
    fn value(&mut self, path: &mut Path, place: Place<'_>, incoming: Json<'_>, out: &mut String) -> bool {
        let is_merging = place.levels > 0;
        let object = place.current.filter(|current| is_merging && current.is_object());
        let wins = match self.stamp.cmp(&place.here) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => object.is_none() && is_larger(incoming, place.current),
            std::cmp::Ordering::Greater => true,
        };
        if !wins {
            return self.lose_to(place.current, incoming, out);
        }
        self.is_applied = true;
        let (mut later, mut kept) = (String::new(), Vec::new());
        let is_later = object.is_some_and(|object| self.write_later(path, place, object, &mut kept, &mut later));
        self.paths.overwrite(path, self.stamp);
        // What has the stamp of a patch that set everything would get that of this path, which now has one.
        if !path.is_root() {
            kept.into_iter().for_each(|kept| self.paths.restamp(&kept, place.present));
        }
        if is_later {
            self.is_lost = true;
            out.push_str(&later);
            return true;
        }
        if incoming.text() == b"null" {
            return false;
        }
        out.push_str(text(incoming));
        true
    }

    /// Of an object that is overwritten, what was written at this moment or later; says whether there is anything, be it
    /// that something was removed. Notes what of it has no stamp of its own.
    fn write_later(
        &self,
        path: &mut Path,
        place: Place<'_>,
        current: Json<'_>,
        kept: &mut Vec<Path>,
        out: &mut String,
    ) -> bool {
        let mut object = Object::new();
        for (key, value) in current.members() {
            path.within(&unescaped(key), |path| {
                let own = self.paths.exact(path);
                let present = own.unwrap_or(place.present);
                if !value.is_object() || place.levels == 1 {
                    if present >= self.stamp {
                        object.add(key, text(value));
                        if own.is_none() {
                            kept.push(path.clone());
                        }
                    }
                } else if own.is_some_and(|own| own >= self.stamp) {
                    object.add(key, text(value));
                } else {
                    let place = Place { levels: below(place.levels), present, ..place };
                    let mut inner = String::new();
                    if self.write_later(path, place, value, kept, &mut inner) {
                        object.add(key, &inner);
                    }
                }
            });
        }
        let is_any = !object.is_empty() || self.paths.is_any_under(path, self.stamp);
        out.push_str(&object.end());
        is_any
    }

    /// The first write of a value wins; null is none.
    fn first(&mut self, path: &mut Path, place: Place<'_>, incoming: Json<'_>, out: &mut String) -> bool {
        let current = place.current.filter(|current| current.text() != b"null");
        let stamp = self.paths.exact(path).unwrap_or(place.here);
        let wins = incoming.text() != b"null"
            && (current.is_none() || self.stamp < stamp || (self.stamp == stamp && is_larger(incoming, current)));
        if !wins {
            return if incoming.text() == b"null" {
                self.keep(current, out)
            } else {
                self.lose_to(current, incoming, out)
            };
        }
        self.is_applied = true;
        self.paths.restamp(path, self.stamp);
        out.push_str(text(incoming));
        true
    }

    /// Rules that ask for no stamps.
    fn by_rule(&mut self, rule: &Rule, place: Place<'_>, incoming: Json<'_>, out: &mut String) -> bool {
        let current = place.current.filter(|current| current.text() != b"null");
        let is_left = self.way == Way::Put && rule.is_left_by_put() && current.is_some();
        if is_left || incoming.text() == b"null" {
            return self.keep(current, out);
        }
        let merged = match self.way {
            Way::Put if rule.is_left_by_put() => Ok(Cow::Borrowed(text(incoming))),
            _ => value::merge(rule, current.map(text), text(incoming)),
        };
        match merged {
            Ok(merged) => {
                let is_same = current.is_some_and(|current| current.is_same(Json::new(merged.as_bytes())));
                self.is_applied |= !is_same;
                self.is_lost |= matches!(rule, Rule::Max | Rule::Min) && merged != text(incoming);
                out.push_str(&merged);
                true
            }
            Err(failure) => {
                self.failure.get_or_insert(failure);
                self.keep(current, out)
            }
        }
    }

    fn keep(&self, current: Option<Json<'_>>, out: &mut String) -> bool {
        current.into_iter().for_each(|current| out.push_str(text(current)));
        current.is_some()
    }

    fn lose(&mut self, current: Option<Json<'_>>, out: &mut String) -> bool {
        self.is_lost = true;
        self.keep(current, out)
    }

    /// What loses to the same value has lost nothing.
    fn lose_to(&mut self, current: Option<Json<'_>>, incoming: Json<'_>, out: &mut String) -> bool {
        let is_same = match current {
            Some(current) => current.is_same(incoming),
            None => incoming.text() == b"null",
        };
        self.is_lost |= !is_same;
        self.keep(current, out)
    }
}

/// Writes the document if the patch is newer than all of it and sets everything that is there, as a client does that
/// writes whole documents; says whether it is so. Then no path needs a stamp of its own but those that were removed.
fn write_all(
    rule: &DocumentRule,
    current: Option<Json<'_>>,
    incoming: Json<'_>,
    stamp: Stamp,
    paths: &mut Paths,
    out: &mut String,
) -> bool {
    let levels = levels_of(rule);
    let is_plain = levels > 0 && rule.members.is_empty() && incoming.is_object() && current.is_none_or(Json::is_object);
    let says = |names: &mut dyn Iterator<Item = &str>| said_of(levels, incoming, names);
    if !is_plain
        || stamp <= paths.newest()
        || !covers(levels, current, incoming)
        // What is in such an object would count as written with it.
        || paths.names().any(|mut names| says(&mut names) == Said::Parts)
    {
        return false;
    }
    write_fresh(levels, incoming, out);
    paths.overwrite_all(stamp, |names| says(names) == Said::Nothing);
    note_removals(levels, incoming, stamp, &mut Path::default(), paths);
    *paths = std::mem::replace(paths, Paths::all(Stamp(0))).bounded();
    true
}

/// What a patch says of a path.
#[derive(PartialEq, Eq)]
enum Said {
    Nothing,
    /// It changes members there.
    Parts,
    /// It sets the value.
    All,
}

fn said_of(mut levels: u32, incoming: Json<'_>, names: &mut dyn Iterator<Item = &str>) -> Said {
    let mut node = incoming;
    for name in names {
        match node.members().filter(|(key, _)| unescaped(key) == name).last() {
            Some((_, value)) if levels > 1 && value.is_object() => node = value,
            Some(_) => return Said::All,
            None => return Said::Nothing,
        }
        levels -= 1;
    }
    Said::Parts
}

/// Whether the patch sets everything that is in the document, and every object in it sets something.
fn covers(levels: u32, current: Option<Json<'_>>, incoming: Json<'_>) -> bool {
    if levels == 0 || !incoming.is_object() {
        return true;
    }
    let (members, known) = (Members::of(incoming), Members::maybe(current));
    !members.is_empty()
        // That there was a value, and since when, would be forgotten.
        && current.is_none_or(Json::is_object)
        && known.all.iter().all(|(name, _)| members.get(name).is_some())
        && members.all.iter().all(|(name, value)| covers(below(levels), known.get(name), *value))
}

/// Notes what the patch removes.
fn note_removals(levels: u32, incoming: Json<'_>, stamp: Stamp, path: &mut Path, paths: &mut Paths) {
    for (key, value) in incoming.members() {
        if value.text() == b"null" {
            path.within(&unescaped(key), |path| paths.overwrite(path, stamp));
        } else if levels > 1 && value.is_object() {
            path.within(&unescaped(key), |path| note_removals(below(levels), value, stamp, path, paths));
        }
    }
}

/// Which of two values written at the same time stays: the one whose text is larger; a value rather than none.
fn is_larger(incoming: Json<'_>, current: Option<Json<'_>>) -> bool {
    match current {
        None => incoming.text() != b"null",
        Some(current) => incoming.text() != b"null" && incoming.text() > current.text(),
    }
}

fn levels_of(rule: &DocumentRule) -> u32 {
    rule.depth.map_or(LEVELS_MAX, |depth| depth.min(LEVELS_MAX))
}

fn below(levels: u32) -> u32 {
    levels.saturating_sub(1)
}

fn text<'a>(json: Json<'a>) -> &'a str {
    json.as_str().unwrap_or_default()
}

fn write_fresh(levels: u32, incoming: Json<'_>, out: &mut String) -> bool {
    if incoming.text() == b"null" {
        return false;
    }
    if levels == 0 || !incoming.is_object() {
        out.push_str(text(incoming));
        return true;
    }
    let mut object = Object::new();
    let mut one = String::new();
    for (key, value) in incoming.members() {
        one.clear();
        if write_fresh(below(levels), value, &mut one) {
            object.add(key, &one);
        }
    }
    out.push_str(&object.end());
    true
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
        _ => paths.overwrite(path, stamp),
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

/// An object's members, to be found by name.
struct Members<'a> {
    /// Sorted by name, if there are many.
    all: Vec<(Cow<'a, str>, Json<'a>)>,
    is_sorted: bool,
}

impl<'a> Members<'a> {
    const FEW: usize = 12;

    fn of(object: Json<'a>) -> Members<'a> {
        let mut all: Vec<_> = object.members().map(|(key, value)| (unescaped(key), value)).collect();
        let is_sorted = all.len() > Members::FEW;
        if is_sorted {
            all.sort_by(|a, b| a.0.cmp(&b.0));
        }
        Members { all, is_sorted }
    }

    fn maybe(object: Option<Json<'a>>) -> Members<'a> {
        object.map_or(Members { all: Vec::new(), is_sorted: false }, Members::of)
    }

    fn get(&self, name: &str) -> Option<Json<'a>> {
        let place = if self.is_sorted {
            // Of several members of one name the last one counts.
            let after = self.all.partition_point(|(own, _)| &**own <= name);
            after.checked_sub(1).filter(|place| self.all[*place].0 == name)
        } else {
            self.all.iter().rposition(|(own, _)| own == name)
        };
        place.map(|place| self.all[place].1)
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// An object being written, with space where `jsonb` writes it.
struct Object(String);

impl Object {
    fn new() -> Object {
        Object("{".to_owned())
    }

    /// Adds a member, whose key is as it stood between quotation marks.
    fn add(&mut self, key: &[u8], value: &str) {
        if self.0.len() > 1 {
            self.0.push_str(", ");
        }
        self.0.push('"');
        self.0.push_str(&String::from_utf8_lossy(key));
        self.0.push_str("\": ");
        self.0.push_str(value);
    }

    fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn rule(json: Value) -> DocumentRule {
        match serde_json::from_value(json).unwrap() {
            Rule::Json(rule) => (*rule).clone(),
            other => panic!("{other} is no rule for documents"),
        }
    }

    /// The document after these patches, each with its stamp, and what was written when.
    fn after(rule: &DocumentRule, patches: &[(i64, Value)]) -> (Option<Value>, Paths) {
        let (mut document, mut paths) = (None, Paths::all(Stamp(0)));
        for (stamp, patch) in patches {
            let merged =
                merge(rule, document.as_deref(), &patch.to_string(), Way::Edit, Stamp(*stamp), &mut paths).unwrap();
            document = merged.text;
        }
        (document.map(|text| serde_json::from_str(&text).unwrap()), paths)
    }

    fn check(rule_json: Value, patches: &[(i64, Value)], expected: Value) {
        let (document, _) = after(&rule(rule_json), patches);
        assert_eq!(document.unwrap_or(Value::Null), expected);
    }

    #[test]
    fn what_was_written_later_stays_path_by_path() {
        let both = [(5, json!({"a": {"x": 1}, "b": 1})), (4, json!({"a": {"x": 2, "y": 2}, "c": 2}))];
        check(json!("json"), &both, json!({"a": {"x": 1, "y": 2}, "b": 1, "c": 2}));
        check(json!({"rule": "json", "depth": 1}), &both, json!({"a": {"x": 1}, "b": 1, "c": 2}));
    }

    #[test]
    fn null_removes_and_what_is_older_does_not_come_back() {
        check(json!("json"), &[(5, json!({"a": null})), (4, json!({"a": 1, "b": 1}))], json!({"b": 1}));
        check(json!("json"), &[(4, json!({"a": 1})), (5, json!(null)), (3, json!({"b": 1}))], json!(null));
    }

    #[test]
    fn members_have_rules_of_their_own() {
        let rules = json!({"rule": "json", "members": {
            "n": "add", "log": {"rule": "append", "cap": 2}, "tags": "union", "by": "first", "top": "max", "whole": "lww"}});
        let patches = [
            (5, json!({"n": 1, "log": [1, 2], "tags": {"add": ["x"]}, "by": "b", "top": 3, "whole": {"x": 1}})),
            (
                4,
                json!({"n": 2, "log": [3], "tags": {"add": ["y"], "remove": ["x"]}, "by": "a", "top": 2, "whole": {"y": 1}}),
            ),
        ];
        let expected = json!({"n": 3, "log": [2, 3], "tags": ["y"], "by": "a", "top": 3, "whole": {"x": 1}});
        check(rules, &patches, expected);
    }

    #[test]
    fn a_put_leaves_counters_alone() {
        let rule = rule(json!({"rule": "json", "members": {"n": "add"}}));
        let put = |current: &str, patch: &str| {
            let mut paths = Paths::all(Stamp(0));
            merge(&rule, Some(current), patch, Way::Put, Stamp(1), &mut paths).unwrap().text.unwrap()
        };
        assert_eq!(put(r#"{"n":5,"a":1}"#, r#"{"n":0,"a":2}"#), r#"{"n": 5, "a": 2}"#);
        assert_eq!(put(r#"{"a":1}"#, r#"{"n":0}"#), r#"{"a": 1, "n": 0}"#);
    }

    #[test]
    fn a_member_that_cannot_be_merged_spoils_the_patch() {
        let rule = rule(json!({"rule": "json", "members": {"n": "add"}}));
        let mut paths = Paths::all(Stamp(0));
        let refused = merge(&rule, Some(r#"{"n":1}"#), r#"{"n":"x"}"#, Way::Edit, Stamp(1), &mut paths).unwrap_err();
        assert_eq!(refused.to_string(), "the rule add needs a number, not \"x\"");
    }

    #[test]
    fn what_wins_nothing_says_so() {
        let rule = rule(json!("json"));
        let mut paths = Paths::all(Stamp(5));
        let merged = merge(&rule, Some(r#"{"a":1}"#), r#"{"a":2}"#, Way::Edit, Stamp(4), &mut paths).unwrap();
        assert_eq!((merged.is_applied, merged.is_lost), (false, true));
        let merged = merge(&rule, Some(r#"{"a":1}"#), r#"{"a":1.0}"#, Way::Edit, Stamp(4), &mut paths).unwrap();
        assert_eq!((merged.is_applied, merged.is_lost), (false, false));
        let merged = merge(&rule, Some(r#"{"a":1}"#), r#"{"a":1}"#, Way::Edit, Stamp(6), &mut paths).unwrap();
        assert_eq!((merged.is_applied, merged.is_lost), (true, false));
        assert_eq!(paths.newest(), Stamp(6));
    }

    #[test]
    fn too_many_paths_are_taken_together_as_newer() {
        let rule = rule(json!("json"));
        let (mut document, mut paths) = (None, Paths::all(Stamp(0)));
        for number in 1..1000 {
            let patch = format!("{{\"m{number}\":{number}}}");
            let way = Way::Edit;
            document = merge(&rule, document.as_deref(), &patch, way, Stamp(number), &mut paths).unwrap().text;
        }
        assert!(paths.own.len() <= 256 && paths.base > Stamp(0));
        let late = merge(&rule, document.as_deref(), r#"{"m3":0}"#, Way::Edit, Stamp(4), &mut paths).unwrap();
        assert!(late.is_lost && !late.is_applied);
    }

    #[test]
    fn a_long_path_counts_as_the_one_above() {
        let rule = rule(json!("json"));
        let name = "n".repeat(1000);
        let (mut document, mut paths) = (None, Paths::all(Stamp(0)));
        let patches =
            [(1, json!({"k": 0})), (5, json!({"a": {name.as_str(): 1}})), (4, json!({"a": {"b": 1}, "c": 1}))];
        for (stamp, patch) in patches {
            document = merge(&rule, document.as_deref(), &patch.to_string(), Way::Edit, Stamp(stamp), &mut paths)
                .unwrap()
                .text;
        }
        let document: Value = serde_json::from_str(&document.unwrap()).unwrap();
        assert_eq!(document, json!({"k": 0, "a": {name: 1}, "c": 1}));
    }

    #[test]
    fn deep_values_do_not_overflow_the_stack() {
        let deep = r#"{"a":"#.repeat(50_000) + "1" + &"}".repeat(50_000);
        let rule = rule(json!("json"));
        let mut paths = Paths::all(Stamp(0));
        let merged = merge(&rule, Some(&deep), &deep, Way::Edit, Stamp(1), &mut paths).unwrap();
        assert_eq!(merged.text.unwrap().replace(' ', ""), deep);
        let patch = difference(&rule, Some(&deep), &deep.replace('1', "2")).unwrap().unwrap();
        assert_eq!(patch.replace(' ', "").len(), deep.len());
    }

    fn leaf() -> impl Strategy<Value = Value> {
        prop_oneof![Just(Value::Null), (0..3i64).prop_map(Value::from), Just(json!([1])), Just(json!({}))]
    }

    fn patch() -> impl Strategy<Value = Value> {
        leaf().prop_recursive(3, 12, 3, |inner| {
            proptest::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| map.into_iter().collect())
        })
    }

    /// A document of plain values: of these, to write a value and to change a member are the same.
    fn flat() -> impl Strategy<Value = Value> {
        proptest::collection::btree_map("[a-d]", 0..3i64, 0..4).prop_map(|map| json!(map))
    }

    /// RFC 7396, as it stands there.
    fn merge_patch(target: Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut target = match target {
            Value::Object(target) => target,
            _ => Map::new(),
        };
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                let current = target.remove(name).unwrap_or(Value::Null);
                target.insert(name.clone(), merge_patch(current, value));
            }
        }
        Value::Object(target)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_order_of_arrival_does_not_matter(
            patches in proptest::collection::vec((1i64..6, patch()), 1..5).prop_shuffle(),
            depth in proptest::option::of(1u32..3),
        ) {
            let rule = DocumentRule { depth, ..DocumentRule::default() };
            let mut sorted = patches.clone();
            sorted.sort_by_key(|(stamp, _)| *stamp);
            prop_assert_eq!(after(&rule, &patches).0, after(&rule, &sorted).0);
            let mut reversed = patches.clone();
            reversed.reverse();
            prop_assert_eq!(after(&rule, &patches).0, after(&rule, &reversed).0);
        }

        #[test]
        fn in_the_order_of_their_stamps_patches_do_what_the_rfc_says(patches in proptest::collection::vec(patch(), 1..5)) {
            let dated: Vec<_> = (1..).zip(patches.iter().cloned()).collect();
            let by_rfc = patches.iter().fold(Value::Null, merge_patch);
            prop_assert_eq!(after(&DocumentRule::default(), &dated).0.unwrap_or(Value::Null), by_rfc);
        }

        #[test]
        fn coalesced_patches_do_what_each_does(
            before in proptest::collection::vec((1i64..9, patch()), 0..3),
            a in patch(), b in patch(), depth in proptest::option::of(1u32..3),
        ) {
            let rule = DocumentRule { depth, ..DocumentRule::default() };
            let with = |more: &[(i64, Value)]| after(&rule, &[&before[..], more].concat()).0;
            let (rest, both) = coalesce(&rule, &a.to_string(), &b.to_string()).unwrap();
            let mut coalesced: Vec<_> = rest.into_iter().map(|rest| (4, serde_json::from_str(&rest).unwrap())).collect();
            coalesced.push((6, serde_json::from_str(&both).unwrap()));
            prop_assert_eq!(with(&[(4, a), (6, b)]), with(&coalesced));
        }

        #[test]
        fn a_difference_makes_what_it_was_made_of(before in patch(), after in patch(), depth in proptest::option::of(1u32..3)) {
            let rule = DocumentRule { depth, ..DocumentRule::default() };
            let [before, after] = [before, after].map(|value| fresh(&rule, &value.to_string()).unwrap_or("null".into()));
            let mut paths = Paths::all(Stamp(0));
            let made = match difference(&rule, Some(&before), &after).unwrap() {
                Some(patch) => merge(&rule, Some(&before), &patch, Way::Edit, Stamp(1), &mut paths).unwrap().text,
                None => Some(before),
            };
            prop_assert!(Json::new(made.as_deref().unwrap_or("null").as_bytes()).is_same(Json::new(after.as_bytes())));
        }

        #[test]
        fn somebody_elses_change_is_stamped_where_it_is(before in flat(), after in flat(), late in flat()) {
            let rule = DocumentRule::default();
            let [before, after] = [before, after].map(|value| fresh(&rule, &value.to_string()));
            let merged = |current: Option<&str>, patch: &str, stamp, paths: &mut Paths| {
                merge(&rule, current, patch, Way::Edit, Stamp(stamp), paths).unwrap().text
            };
            let (mut noted, mut patched) = (Paths::all(Stamp(1)), Paths::all(Stamp(1)));
            note_change(&rule, before.as_deref(), after.as_deref(), Stamp(9), &mut noted);
            let patch = difference(&rule, before.as_deref(), after.as_deref().unwrap_or("null")).unwrap();
            let by_patch = match patch {
                Some(patch) => merged(before.as_deref(), &patch, 9, &mut patched),
                None => before,
            };
            let late = late.to_string();
            let [noted, patched] = [
                merged(after.as_deref(), &late, 5, &mut noted),
                merged(by_patch.as_deref(), &late, 5, &mut patched),
            ].map(|text| text.map(|text| Json::new(text.as_bytes()).canonical()));
            prop_assert_eq!(noted, patched);
        }
    }
}
