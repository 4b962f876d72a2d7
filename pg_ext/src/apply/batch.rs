//! A batch: patches by shape, and how parts of it are made.

use super::rows::{self, Place};
use crate::failure::Failure;
use crate::poison::Refusal;
use crate::shape::{Compiled, Planning, Shape, Statement, Target};
use crate::{owner, session::Session};
use cache_sync_core::outcome::{Record, Verdict};
use pgrx::{IntoDatum, pg_sys};
use std::cell::OnceCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// How many patches a batch may have.
const PATCHES_MAX: usize = 100_000;

const SUBSET: &str = "SELECT pg_catalog.jsonb_agg(a.e) FROM pg_catalog.jsonb_array_elements($1) AS a(e) \
    WHERE (a.e OPERATOR(pg_catalog.->) '#')::pg_catalog.int4 OPERATOR(pg_catalog.=) ANY ($2)";
const BURY: &str = "INSERT INTO cache_sync.dead_letter (table_id, session, seq, ord, sqlstate, message, op, patch) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8 OPERATOR(pg_catalog.->) 0)";
const LETTER: &[pg_sys::Oid] = &[
    pg_sys::INT4OID,
    pg_sys::UUIDOID,
    pg_sys::INT8OID,
    pg_sys::INT4OID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::JSONBOID,
];

thread_local! {
    static SUBSET_OF: ManuallyDrop<OnceCell<Statement>> = const { ManuallyDrop::new(OnceCell::new()) };
    static BURIAL: ManuallyDrop<OnceCell<Statement>> = const { ManuallyDrop::new(OnceCell::new()) };
}

/// The patches of one shape.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) compiled: Rc<Compiled>,
    /// A jsonb array, plain.
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
    /// `rows` must be a jsonb that is neither compressed nor stored elsewhere.
    pub(super) unsafe fn new(target: &Target, shape: &Shape, rows: pg_sys::Datum, hlc: i64) -> Result<Part, Failure> {
        let compiled = target.compile(shape)?;
        // SAFETY: the caller vouches for `rows`.
        let places = unsafe { rows::read(&compiled, rows, hlc)? };
        Ok(Part { compiled, rows, places })
    }

    /// The patches at these places.
    ///
    /// # Errors
    /// When SPI refuses to pick them.
    pub(super) fn subset(&self, places: Vec<Place>) -> Result<Part, Failure> {
        if places.len() == self.places.len() {
            return Ok(self.clone());
        }
        let numbers: Vec<i32> = places.iter().map(|place| place.place as i32).collect();
        let mut rows = None;
        SUBSET_OF.with(|subset| {
            let types = [pg_sys::JSONBOID, pg_sys::INT4ARRAYOID];
            let subset = prepared(subset, SUBSET, &types)?;
            // SAFETY: the arguments are of these types; the copy is in memory that lives until SPI is left.
            unsafe {
                subset.run(&[Some(self.rows), numbers.into_datum()], |row| {
                    rows = row.datum(0).map(|rows| pg_sys::pg_detoast_datum_copy(rows.cast_mut_ptr()).into());
                })
            }
        })?;
        let Some(rows) = rows else {
            return Err(Failure::new(b"XX000", "patches are not where they were"));
        };
        Ok(Part { compiled: Rc::clone(&self.compiled), rows, places })
    }

    /// Keeps the part's only patch among the dead letters, and says that it was rejected.
    ///
    /// # Errors
    /// When the extension's tables are not there.
    pub(super) fn bury(&self, session: Session, seq: i64, refusal: &Refusal) -> Result<(u32, Record), Failure> {
        let place = self.places.first().map_or(0, |place| place.place);
        let text = |text: &str| text.into_datum();
        let arguments = [
            Some(session.table_id.into()),
            Some(session.id),
            Some(seq.into()),
            Some((place as i32).into()),
            text(&String::from_utf8_lossy(&refusal.sqlstate)),
            text(&refusal.message),
            text(self.compiled.shape.op()),
            Some(self.rows),
        ];
        owner::as_owner(|| {
            BURIAL.with(|burial| {
                // SAFETY: the arguments are of LETTER's types.
                unsafe { prepared(burial, BURY, LETTER)?.run(&arguments, |_| ()) }
            })
        })??;
        Ok((place, Record { sqlstate: Some(refusal.sqlstate), ..Record::of(Verdict::Rejected) }))
    }
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
    for place in parts.iter().flat_map(|part| &part.places) {
        match is_taken.get_mut(place.place as usize) {
            Some(is_taken) if !*is_taken => *is_taken = true,
            _ => {
                let message = format!("the \"#\" {} of a patch is taken, or no place in the batch", place.place);
                return Err(Failure::new(b"22023", message));
            }
        }
    }
    Ok(total)
}

/// The parts' patches in two halves.
///
/// # Errors
/// As [`Part::subset`].
pub(super) fn halves(parts: &[Part]) -> Result<[Vec<Part>; 2], Failure> {
    let total: usize = parts.iter().map(|part| part.places.len()).sum();
    let (mut room, mut left, mut right) = (total / 2, Vec::new(), Vec::new());
    for part in parts {
        let (first, second) = part.places.split_at(room.min(part.places.len()));
        room -= first.len();
        for (half, places) in [(&mut left, first), (&mut right, second)] {
            if !places.is_empty() {
                half.push(part.subset(places.to_vec())?);
            }
        }
    }
    Ok([left, right])
}

/// The parts' patches as an array of jsonb.
pub(super) fn array_of(parts: &[Part]) -> pg_sys::Datum {
    let mut rows: Vec<_> = parts.iter().map(|part| part.rows).collect();
    // SAFETY: the elements are jsonb, of variable length and aligned to integers.
    unsafe {
        pg_sys::construct_array(
            rows.as_mut_ptr(),
            rows.len() as i32,
            pg_sys::JSONBOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
        )
        .into()
    }
}
