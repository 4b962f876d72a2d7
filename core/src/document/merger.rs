//! Walks a document and a patch side by side.

use super::levels::{below, levels_of};
use super::object::{Members, Object, text};
use super::way::Way;
use crate::json::{Json, unescaped};
use crate::number::Stamp;
use crate::paths::{Path, Paths};
use crate::rule::{DocumentRule, Rule};
use crate::value::{self, CannotMerge};
use std::cmp::Ordering;

/// A merge under way.
pub(super) struct Merger<'a> {
    pub(super) rule: &'a DocumentRule,
    pub(super) way: Way,
    pub(super) stamp: Stamp,
    pub(super) paths: &'a mut Paths,
    pub(super) is_applied: bool,
    pub(super) is_lost: bool,
    pub(super) failure: Option<CannotMerge>,
}

/// A place in the document.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// How many levels of objects merge from here on.
    pub(super) levels: u32,
    /// When what is here, or that nothing is, was written.
    pub(super) here: Stamp,
    /// The stamps of what is below, and of what is not, as far as the paths above say.
    pub(super) present: Stamp,
    pub(super) absent: Stamp,
    pub(super) current: Option<Json<'a>>,
}

impl Merger<'_> {
    /// Writes what stands at the path afterwards, and says whether anything does.
    pub(super) fn at(&mut self, path: &mut Path, place: Place<'_>, incoming: Json<'_>, out: &mut String) -> bool {
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
            Ordering::Less => false,
            Ordering::Equal => object.is_none() && is_larger(incoming, place.current),
            Ordering::Greater => true,
        };
        if !wins {
            return self.lose_to(place.current, incoming, out);
        }
        self.is_applied = true;
        let (mut later, mut kept) = (String::new(), Vec::new());
        let is_later = object.is_some_and(|object| self.write_later(path, place, object, &mut kept, &mut later));
        self.paths.overwrite(path.as_bytes(), self.stamp);
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
            Way::Put if rule.is_left_by_put() => Ok(value::fresh(rule, text(incoming))),
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

/// Which of two values written at the same time stays: the one whose text is larger; a value rather than none.
fn is_larger(incoming: Json<'_>, current: Option<Json<'_>>) -> bool {
    match current {
        None => incoming.text() != b"null",
        Some(current) => incoming.text() != b"null" && incoming.text() > current.text(),
    }
}
