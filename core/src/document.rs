//! Merges JSON documents, path by path.
//!
//! ```text
//! merger   walks document and patch        whole   a patch that sets everything
//! change   from two states to a patch      object, levels, way   what they share
//! ```
//! What a client sends of a document is a *document patch*, as in RFC 7396: an object changes the members that it has,
//! null removes, everything else is the new value. Values that are not objects, arrays among them, and objects that lie
//! deeper than the rule merges are one value, and the last write wins.
//!
//! Of two writes of which one makes a path an object and the other a plain value, what was written later below the path
//! stays: so the order in which patches arrive does not matter. Members with rules of their own follow these.

mod change;
mod levels;
mod merger;
mod object;
mod way;
mod whole;

pub use change::{coalesce, difference, note_change};
pub use levels::levels_of;
pub use way::Way;

use crate::json::Json;
use crate::number::Stamp;
use crate::paths::{Path, Paths};
use crate::rule::DocumentRule;
use crate::value::CannotMerge;
use merger::{Merger, Place};
use whole::{write_all, write_fresh};

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
    paths.bound();
    match failure {
        Some(failure) => Err(failure),
        None => Ok(Merged { text: is_there.then_some(text), is_applied, is_lost }),
    }
}

/// The document that a patch makes where there is none.
pub fn fresh(rule: &DocumentRule, incoming: &str) -> Option<String> {
    let mut out = String::with_capacity(incoming.len());
    write_fresh(Some(rule), levels_of(rule), Json::new(incoming.as_bytes()), &mut out).then_some(out)
}

#[cfg(test)]
mod tests;
