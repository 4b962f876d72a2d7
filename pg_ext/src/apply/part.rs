//! The patches of one shape, and how parts of a batch are made.

use super::places::{self, Place};
use super::poison::Refusal;
use super::session::Session;
use super::shape::{Compiled, Planning, Shape, Statement, Target};
use crate::pg::backend::OfBackend;
use crate::pg::failure::Failure;
use crate::pg::owner::as_owner;
use crate::pg::value;
use cache_sync_core::json::Json;
use cache_sync_core::outcome::{Record, Verdict};
use pgrx::{IntoDatum, pg_sys};
use std::cell::OnceCell;
use std::collections::HashSet;
use std::rc::Rc;

/// How many patches a batch may have.
const PATCHES_MAX: usize = 100_000;

const BURY: &str = "INSERT INTO cache_sync.dead_letter \
    (table_id, session, seq, ord, sqlstate, message, constraint_name, op, patch, shape, hlc) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const LETTER: &[pg_sys::Oid] = &[
    pg_sys::INT4OID,
    pg_sys::UUIDOID,
    pg_sys::INT8OID,
    pg_sys::INT4OID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::JSONOID,
    pg_sys::JSONBOID,
    pg_sys::INT8OID,
];

static BURIAL: OfBackend<OnceCell<Statement>> = OfBackend::new(OnceCell::new());

/// The patches of one shape.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) compiled: Rc<Compiled>,
    /// A json array, plain.
    pub(super) rows: pg_sys::Datum,
    pub(super) places: Vec<Place>,
}

impl Part {
    /// The patches of `shape`, checked for form.
    ///
    /// # Errors
    /// When the shape or the patches are not what docs/design.md describes.
    ///
    /// # Safety
    /// `rows` must be a json that is neither compressed nor stored elsewhere.
    pub(super) unsafe fn new(target: &Target, shape: &Shape, rows: pg_sys::Datum, hlc: i64) -> Result<Part, Failure> {
        let compiled = target.compile(shape)?;
        // SAFETY: the caller vouches for `rows`.
        let places = places::read(&compiled, unsafe { json_of(rows) }, hlc)?;
        Ok(Part { compiled, rows, places })
    }

    /// Its patches with these numbers.
    pub(super) fn subset(&self, numbers: &[u32]) -> Part {
        if numbers.len() == self.places.len() {
            return self.clone();
        }
        let numbers: HashSet<_> = numbers.iter().collect();
        let places: Vec<_> = self.places.iter().filter(|place| numbers.contains(&place.number)).copied().collect();
        let (rows, places) = places::subset(self.json(), &places);
        Part { compiled: Rc::clone(&self.compiled), rows, places }
    }

    /// The numbers of its patches.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.places.iter().map(|place| place.number)
    }

    fn json(&self) -> Json<'_> {
        // SAFETY: the rows are plain, and live as long as the call that they came with.
        unsafe { json_of(self.rows) }
    }

    /// Keeps the part's only patch among the dead letters, and says that it was rejected.
    ///
    /// # Errors
    /// When the extension's tables are not there.
    pub(super) fn bury(
        &self,
        session: Session,
        seq: i64,
        hlc: i64,
        refusal: &Refusal,
    ) -> Result<(u32, Record), Failure> {
        let Some(patch) = self.places.first() else {
            return Err(Failure::new(b"XX000", "there is no patch to be kept"));
        };
        let place = patch.number;
        let text = |text: &str| text.into_datum();
        let arguments = [
            Some(session.table_id.into()),
            Some(session.id),
            Some(seq.into()),
            Some((place as i32).into()),
            text(&String::from_utf8_lossy(&refusal.sqlstate)),
            text(&refusal.message),
            refusal.constraint.as_deref().and_then(text),
            text(self.compiled.shape.op()),
            Some(value::bytea(patch.text(self.json()))),
            Some(value::jsonb(&self.compiled.shape.to_json().to_string())?),
            Some(hlc.into()),
        ];
        as_owner(|| {
            // SAFETY: the arguments are of LETTER's types.
            unsafe { prepared(&BURIAL, BURY, LETTER)?.run(&arguments, |_| ()) }
        })??;
        Ok((place, Record { sqlstate: Some(refusal.sqlstate), ..Record::of(Verdict::Rejected) }))
    }
}

/// The text of a json.
///
/// # Safety
/// `datum` must be a json that is neither compressed nor stored elsewhere, and must outlive what is returned.
unsafe fn json_of<'a>(datum: pg_sys::Datum) -> Json<'a> {
    // SAFETY: the caller vouches for the value; it begins with its size.
    Json::new(unsafe { pgrx::varlena::varlena_to_byte_slice(datum.cast_mut_ptr()) })
}

fn prepared<'a>(cell: &'a OnceCell<Statement>, text: &str, types: &[pg_sys::Oid]) -> Result<&'a Statement, Failure> {
    if let Some(statement) = cell.get() {
        return Ok(statement);
    }
    let statement = Statement::new(text, types, Planning::Free)?;
    Ok(cell.get_or_init(|| statement))
}

/// How many patches the parts have; every place from 0 must be there once.
///
/// # Errors
/// When it is not, or there are too many.
pub(super) fn count(parts: &[Part]) -> Result<usize, Failure> {
    let total = parts.iter().map(|part| part.places.len()).sum();
    if total > PATCHES_MAX {
        return Err(Failure::new(b"54000", format!("a batch has {total} patches, of {PATCHES_MAX} at most")));
    }
    let mut is_taken = vec![false; total];
    for number in parts.iter().flat_map(Part::numbers) {
        match is_taken.get_mut(number as usize) {
            Some(is_taken) if !*is_taken => *is_taken = true,
            _ => {
                let message = format!("the \"#\" {number} of a patch is taken, or no place in the batch");
                return Err(Failure::new(b"22023", message));
            }
        }
    }
    Ok(total)
}

/// The parts' patches in two halves.
pub(super) fn halves(parts: &[Part]) -> [Vec<Part>; 2] {
    let total: usize = parts.iter().map(|part| part.places.len()).sum();
    let (mut room, mut left, mut right) = (total / 2, Vec::new(), Vec::new());
    for part in parts {
        let numbers: Vec<_> = part.numbers().collect();
        let (first, second) = numbers.split_at(room.min(numbers.len()));
        room -= first.len();
        for (half, numbers) in [(&mut left, first), (&mut right, second)] {
            if !numbers.is_empty() {
                half.push(part.subset(numbers));
            }
        }
    }
    [left, right]
}

/// The keys of the parts' patches as an array of json. Only they: a value that Postgres cannot read must not keep rows from
/// being locked in order.
pub(super) fn keys_of(target: &Target, parts: &[Part]) -> pg_sys::Datum {
    let is_key = |name: &str| target.layout.key.iter().any(|key| key.name == name);
    let mut rows: Vec<_> = parts.iter().map(|part| places::keys(part.json(), &part.places, is_key)).collect();
    // SAFETY: the elements are json, of variable length and aligned to integers.
    unsafe {
        pg_sys::construct_array(
            rows.as_mut_ptr(),
            rows.len() as i32,
            pg_sys::JSONOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
        )
        .into()
    }
}
