//! A patch that sets everything in a document: no path needs a stamp of its own then.

use super::levels::{below, levels_of};
use super::object::{Members, Object, text};
use crate::json::{Json, unescaped};
use crate::number::Stamp;
use crate::paths::{Leaves, Path, Paths};
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
    if !is_plain || stamp <= paths.newest() || !covers(levels, current, incoming) {
        return false;
    }
    let mut leaves = Leaves::default();
    add_leaves(levels, incoming, &mut Path::default(), &mut leaves);
    // A leaf below a path with a stamp of its own needs one, too.
    if paths.has_above(&leaves) {
        return false;
    }
    paths.overlay(stamp, true, &leaves);
    write_fresh(None, levels, incoming, out);
    true
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

fn add_leaves(levels: u32, incoming: Json<'_>, path: &mut Path, leaves: &mut Leaves) {
    for (key, value) in incoming.members() {
        path.within(&unescaped(key), |path| {
            if levels > 1 && value.is_object() {
                add_leaves(below(levels), value, path, leaves);
            } else {
                leaves.add(path, value.text() == b"null");
            }
        });
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
