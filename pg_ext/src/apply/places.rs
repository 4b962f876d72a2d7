//! Reads what the objects of a shape's patches say beside the columns: their places, and whether their stamps must be
//! lowered.

use super::shape::Compiled;
use crate::pg::failure::Failure;
use crate::pg::value;
use cache_sync_core::hlc;
use cache_sync_core::json::{Json, unescaped};
use cache_sync_core::merge;
use cache_sync_core::patch::PatchKind;
use pgrx::pg_sys;

/// What a batch says of a patch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its number: the place in the batch.
    pub(super) number: u32,
    /// Whether a stamp of its is ahead of the server's clock.
    pub(super) lowered: bool,
    /// Where its text is in the rows of its part.
    start: u32,
    end: u32,
}

/// What a member is to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Place,
    Stamp,
    /// A list of stamps and patches.
    Dated,
    /// The version that a compare-and-set expects; null: a row without a version, or no row.
    Expected,
    /// The same on a table without versions, where it can only be that there is no row.
    Absence,
    Column,
}

/// The keys of an object, as they stand there, with what their values are.
type Form<'a> = Vec<(&'a [u8], Role)>;

/// A shape's patches.
///
/// # Errors
/// When `rows` is no array of objects with exactly the shape's members.
pub(super) fn read(compiled: &Compiled, rows: Json<'_>, now: i64) -> Result<Vec<Place>, Failure> {
    if !rows.is_array() {
        return Err(Failure::new(b"22023", "an element of rows is no array of objects"));
    }
    let mut places = Vec::new();
    let mut form = Form::new();
    for object in rows.elements() {
        if !object.is_object() {
            return Err(Failure::new(b"22023", "a patch is no JSON object"));
        }
        let (number, lowered) = match read_as(&form, object, now)? {
            Some(read) => read,
            None => {
                form = form_of(compiled, object)?;
                let read = read_as(&form, object, now)?;
                read.ok_or_else(|| Failure::new(b"XX000", "a patch is not of its own form"))?
            }
        };
        let (start, end) = rows.range_of(object);
        places.push(Place { number, lowered, start: start as u32, end: end as u32 });
    }
    Ok(places)
}

/// Reads an object that has the keys of the form; `None` if it has others.
fn read_as(form: &Form<'_>, object: Json<'_>, now: i64) -> Result<Option<(u32, bool)>, Failure> {
    let mut keys = form.iter();
    let (mut place, mut lowered) = (None, false);
    for (key, value) in object.members() {
        match keys.next() {
            Some((expected, Role::Column)) if *expected == key => {}
            Some((expected, Role::Place)) if *expected == key => {
                let number = value.int8().and_then(|place| u32::try_from(place).ok());
                let no_place = || Failure::new(b"22023", "the \"#\" of a patch is no place in the batch");
                place = Some(number.ok_or_else(no_place)?);
            }
            Some((expected, Role::Stamp)) if *expected == key => {
                let Some(stamp) = value.int8().filter(|stamp| *stamp >= 0) else {
                    return Err(Failure::new(b"22023", "a stamp of a patch is negative, or no number"));
                };
                lowered |= hlc::believed(stamp, now) != stamp;
            }
            Some((expected, Role::Dated)) if *expected == key => {
                let parts = value.as_str().and_then(merge::dated_list);
                let Some(parts) = parts.filter(|parts| parts.iter().all(|(stamp, _)| stamp.0 >= 0)) else {
                    return Err(Failure::new(b"22023", "a document of a patch is no list of stamps and patches"));
                };
                lowered |= parts.iter().any(|(stamp, _)| hlc::believed(stamp.0, now) != stamp.0);
            }
            Some((expected, Role::Expected)) if *expected == key => {
                let is_none = value.as_str() == Some("null");
                if !is_none && value.int8().is_none_or(|version| version < 0) {
                    return Err(Failure::new(b"22023", "the version that a patch expects is negative, or no number"));
                }
            }
            Some((expected, Role::Absence)) if *expected == key => {
                if value.int8() != Some(0) {
                    let message = "the table is not versioned, so there is no version to compare";
                    return Err(
                        Failure::new(b"55000", message).hint("Attach it with versioned => true, or expect 0: no row.")
                    );
                }
            }
            _ => return Ok(None),
        }
    }
    Ok(place.filter(|_| keys.next().is_none()).map(|place| (place, lowered)))
}

fn form_of<'a>(compiled: &Compiled, object: Json<'a>) -> Result<Form<'a>, Failure> {
    let refused = |what: &str, key: &str| Err(Failure::new(b"22023", format!("a patch {what} member \"{key}\"")));
    let members: Vec<_> = object.members().map(|(key, _)| (key, unescaped(key))).collect();
    let is_there = |name: &String| members.iter().any(|(_, key)| key == name);
    if let Some(absent) = compiled.required.iter().find(|name| !is_there(name)) {
        return refused("lacks its", absent);
    }
    let is_known = |key: &str| compiled.required.iter().chain(&compiled.optional).any(|name| name == key);
    if let Some((_, unknown)) = members.iter().find(|(_, key)| !is_known(key)) {
        return refused("has the unknown", unknown);
    }
    let is_again = |place: usize| members[..place].iter().any(|(_, key)| *key == members[place].1);
    if let Some(twice) = (0..members.len()).find(|place| is_again(*place)) {
        return refused("has more than one", &members[twice].1);
    }
    let role = |key: &str| match key {
        "#" => Role::Place,
        "=" if compiled.shape.kind == PatchKind::CompareAndSet && !compiled.versioned => Role::Absence,
        "=" if compiled.shape.kind == PatchKind::CompareAndSet => Role::Expected,
        key if compiled.dated.iter().any(|name| name == key) => Role::Dated,
        key if key.starts_with('@') && compiled.required.iter().any(|name| name == key) => Role::Stamp,
        _ => Role::Column,
    };
    Ok(members.iter().map(|(raw, key)| (*raw, role(key))).collect())
}

/// The patches in these places of `rows` as rows of their own.
pub(super) fn subset(rows: Json<'_>, places: &[Place]) -> (pg_sys::Datum, Vec<Place>) {
    let bytes: usize = places.iter().map(|place| place.text(rows).len() + 1).sum();
    let mut array = Vec::with_capacity(bytes + 2);
    array.push(b'[');
    let mut own = Vec::with_capacity(places.len());
    for place in places {
        if array.len() > 1 {
            array.push(b',');
        }
        let start = array.len() as u32;
        array.extend_from_slice(place.text(rows));
        own.push(Place { start, end: array.len() as u32, ..*place });
    }
    array.push(b']');
    (value::bytea(&array), own)
}

/// The patches in these places of `rows` with nothing but their numbers and keys.
pub(super) fn keys(rows: Json<'_>, places: &[Place], is_key: impl Fn(&str) -> bool) -> pg_sys::Datum {
    let mut array = Vec::with_capacity(32 * places.len() + 2);
    for place in places {
        array.extend_from_slice(if array.is_empty() { b"[{\"#\":" } else { b",{\"#\":" });
        array.extend_from_slice(place.number.to_string().as_bytes());
        for (key, value) in Json::new(place.text(rows)).members().filter(|(key, _)| is_key(&unescaped(key))) {
            array.extend_from_slice(&[b",\"", key, b"\":", value.text()].concat());
        }
        array.push(b'}');
    }
    array.extend_from_slice(if array.is_empty() { b"[]" } else { b"]" });
    value::bytea(&array)
}

impl Place {
    /// The patch's text, in the rows that it was read from.
    pub(super) fn text<'a>(&self, rows: Json<'a>) -> &'a [u8] {
        &rows.text()[self.start as usize..self.end as usize]
    }
}
