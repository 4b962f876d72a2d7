//! A patch that sets everything in a document: no path needs a stamp of its own then.

use super::levels::{below, levels_of};
use super::object::{Members, Object, text};
use crate::json::{Json, unescaped};
use crate::number::Stamp;
use crate::paths::{Path, Paths};
use crate::rule::{DocumentRule, Rule};
use crate::value;

/// Writes the document if the patch is newer than all of it and sets everything that is there, as a client does that
/// writes whole documents; says whether it is so. Then no path needs a stamp of its own but those that were removed.
pub(super) fn write_all(
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
    write_fresh(None, levels, incoming, out);
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

/// Writes what a patch makes where there is nothing; says whether it makes anything.
pub(super) fn write_fresh(rule: Option<&DocumentRule>, levels: u32, incoming: Json<'_>, out: &mut String) -> bool {
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
        let is_there = match rule.and_then(|rule| rule.members.get(&*unescaped(key))) {
            None => write_fresh(None, below(levels), value, &mut one),
            Some(Rule::Json(inner)) => write_fresh(None, levels_of(inner), value, &mut one),
            Some(rule) => {
                one.push_str(&value::fresh(rule, text(value)));
                value.text() != b"null"
            }
        };
        if is_there {
            object.add(key, &one);
        }
    }
    out.push_str(&object.end());
    true
}
