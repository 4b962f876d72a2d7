//! Objects: their members by name, and objects being written.

use crate::json::{Json, unescaped};
use std::borrow::Cow;

/// The text of a value.
pub(super) fn text<'a>(json: Json<'a>) -> &'a str {
    json.as_str().unwrap_or_default()
}

/// An object's members, to be found by name.
pub(super) struct Members<'a> {
    /// Sorted by name, if there are many.
    pub(super) all: Vec<(Cow<'a, str>, Json<'a>)>,
    is_sorted: bool,
}

impl<'a> Members<'a> {
    const FEW: usize = 12;

    pub(super) fn of(object: Json<'a>) -> Members<'a> {
        let mut all: Vec<_> = object.members().map(|(key, value)| (unescaped(key), value)).collect();
        let is_sorted = all.len() > Members::FEW;
        if is_sorted {
            all.sort_by(|a, b| a.0.cmp(&b.0));
        }
        Members { all, is_sorted }
    }

    pub(super) fn maybe(object: Option<Json<'a>>) -> Members<'a> {
        object.map_or(Members { all: Vec::new(), is_sorted: false }, Members::of)
    }

    pub(super) fn get(&self, name: &str) -> Option<Json<'a>> {
        let place = if self.is_sorted {
            // Of several members of one name the last one counts.
            let after = self.all.partition_point(|(own, _)| &**own <= name);
            after.checked_sub(1).filter(|place| self.all[*place].0 == name)
        } else {
            self.all.iter().rposition(|(own, _)| own == name)
        };
        place.map(|place| self.all[place].1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// An object being written, with space where `jsonb` writes it.
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Object {
        Object("{".to_owned())
    }

    /// Adds a member, whose key is as it stood between quotation marks.
    pub(super) fn add(&mut self, key: &[u8], value: &str) {
        if self.0.len() > 1 {
            self.0.push_str(", ");
        }
        self.0.push('"');
        self.0.push_str(&String::from_utf8_lossy(key));
        self.0.push_str("\": ");
        self.0.push_str(value);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
