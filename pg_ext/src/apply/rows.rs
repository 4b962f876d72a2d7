//! Reads what the objects of a shape's patches say beside the columns: their places, and whether their stamps must be
//! lowered.

use super::jsonb::Container;
use crate::failure::Failure;
use crate::shape::Compiled;
use pgrx::pg_sys;

/// What a batch says of a patch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its place in the batch.
    pub(super) place: u32,
    /// Whether a stamp of its is ahead of the server's clock.
    pub(super) lowered: bool,
}

/// Where the members that we read stand in objects with the same keys.
struct Form<'a> {
    key_bytes: (&'a [u8], &'a [u8]),
    place: usize,
    stamps: Vec<usize>,
}

/// The places of a shape's patches.
///
/// # Errors
/// When `rows` is no array of objects with exactly the shape's members.
///
/// # Safety
/// `rows` must be a jsonb that is neither compressed nor stored elsewhere.
pub(super) unsafe fn read(compiled: &Compiled, rows: pg_sys::Datum, hlc: i64) -> Result<Vec<Place>, Failure> {
    // SAFETY: the caller vouches for the value.
    let rows = unsafe { Container::of(rows) };
    if !rows.is_array() {
        return Err(Failure::new(b"22023", "an element of rows is no array of objects"));
    }
    let mut places = Vec::with_capacity(rows.len());
    let mut form: Option<Form<'_>> = None;
    for element in rows.elements() {
        let Some(object) = element.container().filter(Container::is_object) else {
            return Err(Failure::new(b"22023", "a patch is no JSON object"));
        };
        let form = match &form {
            Some(form) if form.key_bytes == object.key_bytes() => form,
            _ => form.insert(Form::of(compiled, object)?),
        };
        let place = object.member(form.place).int8().and_then(|place| u32::try_from(place).ok());
        let Some(place) = place else {
            return Err(Failure::new(b"22023", "the \"#\" of a patch is no place in the batch"));
        };
        let mut lowered = false;
        for stamp in &form.stamps {
            let Some(stamp) = object.member(*stamp).int8().filter(|stamp| *stamp >= 0) else {
                return Err(Failure::new(b"22023", format!("a stamp of patch {place} is no positive number")));
            };
            lowered |= stamp > hlc;
        }
        places.push(Place { place, lowered });
    }
    Ok(places)
}

impl<'a> Form<'a> {
    fn of(compiled: &Compiled, object: Container<'a>) -> Result<Form<'a>, Failure> {
        let keys: Vec<_> = object.keys().map(String::from_utf8_lossy).collect();
        if let Some(absent) = compiled.required.iter().find(|name| !keys.iter().any(|key| key == *name)) {
            return Err(Failure::new(b"22023", format!("a patch lacks its member \"{absent}\"")));
        }
        let is_known = |key: &str| compiled.required.iter().chain(&compiled.optional).any(|name| name == key);
        if let Some(unknown) = keys.iter().find(|key| !is_known(key)) {
            return Err(Failure::new(b"22023", format!("a patch has the unknown member \"{unknown}\"")));
        }
        let is_stamp = |key: &str| key.starts_with('@') && compiled.required.iter().any(|name| name == key);
        Ok(Form {
            key_bytes: object.key_bytes(),
            place: keys.iter().position(|key| key == "#").unwrap_or(0),
            stamps: keys.iter().enumerate().filter(|(_, key)| is_stamp(key)).map(|(place, _)| place).collect(),
        })
    }
}
