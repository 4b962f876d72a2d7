//! Applies parts of a batch: each shape's statement once, then a closer look at the patches that it did not answer.

use super::part::{Part, keys_of};
use super::shape::{Lazy, Target};
use crate::pg::failure::Failure;
use crate::pg::patience::{Short, wait_at_most};
use cache_sync_core::number::Version;
use cache_sync_core::outcome::{Record, Verdict};
use cache_sync_core::patch::PatchKind;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};

/// How often a patch that could still be applied is tried again: rows may be deleted, inserted and moved by others
/// between our statements, but a patch that still is not applied then was cancelled by a user's trigger.
const ROUNDS_MAX: usize = 3;

/// What became of patches, by place.
pub(super) type Answers = Vec<(u32, Record)>;

/// In which order rows are locked.
#[derive(Clone, Copy)]
pub(super) struct Locking {
    /// Lock all rows in the order of their keys before anything else: several statements would each have an order of
    /// their own.
    pub(super) first: bool,
    /// Give up rather than lock a row out of this order, because it came while we were at it: whoever locks in order might
    /// wait for us while we wait for him.
    pub(super) strict: bool,
    /// How long an insert waits for whoever has its key. Nothing can be locked that is not there, so he may wait for us.
    pub(super) insert_wait: Option<Short>,
}

/// Applies the parts; `None` when it gave up.
///
/// # Errors
/// When two patches have the same key, or SPI refuses a statement; what statements run into is raised.
pub(super) fn run(target: &Target, parts: &[Part], hlc: i64, mut locking: Locking) -> Result<Option<Answers>, Failure> {
    let may_lock = target.may_lock();
    if !may_lock {
        locking = Locking { first: false, strict: false, insert_wait: None };
    }
    let places = parts.iter().flat_map(Part::numbers).map(|number| number as usize + 1).max().unwrap_or(0);
    let mut rounds = Rounds {
        target,
        parts,
        hlc: Some(hlc.into()),
        answers: Vec::with_capacity(places),
        is_answered: vec![false; places],
        is_lowered: vec![false; places],
        is_locked: vec![!locking.first; places],
    };
    for place in parts.iter().flat_map(|part| &part.places) {
        rounds.is_lowered[place.number as usize] = place.lowered;
    }
    let has_expired = has_expired(target, parts)?;
    if may_lock && (locking.first || has_expired) {
        locking.first = true;
        rounds.is_locked.iter_mut().for_each(|is_locked| *is_locked = false);
        refuse_duplicates(target, parts)?;
        lock(target, parts, |place| rounds.is_locked[place as usize] = true)?;
    }
    if let Some(expire) = target.expire.as_ref().filter(|_| has_expired) {
        // What has expired is as good as gone, for every patch and rule.
        // SAFETY: the argument is an array of json.
        unsafe { expire.get()?.run(&[Some(keys_of(target, parts))], |_| ())? };
    }
    for part in parts {
        let locked: Vec<_> = part.numbers().filter(|number| rounds.is_locked[*number as usize]).collect();
        if !locked.is_empty() {
            rounds.change(&part.subset(&locked))?;
        }
    }
    // Now the one statement of a single part has locked what it found.
    rounds.is_locked.iter_mut().for_each(|is_locked| *is_locked &= locking.first);
    for round in 0..ROUNDS_MAX {
        if rounds.open().all(|(_, open)| open.is_empty()) {
            break;
        }
        if round == 0 && !locking.first {
            refuse_duplicates(target, parts)?;
        }
        if !rounds.again(round, locking)? {
            return Ok(None);
        }
    }
    let swallowed: Vec<_> = rounds.open().flat_map(|(_, open)| open).collect();
    for place in swallowed {
        rounds.answer(place, Record::of(Verdict::Swallowed));
    }
    Ok(Some(rounds.answers))
}

/// Whether some row of the parts has expired. Only then the right to delete is asked for, and rows are locked before
/// anything else: to delete some of them first would be an order of its own.
pub(super) fn has_expired(target: &Target, parts: &[Part]) -> Result<bool, Failure> {
    let Some(expired) = &target.expired else { return Ok(false) };
    let mut has_expired = false;
    // SAFETY: the argument is an array of json.
    unsafe { expired.get()?.run(&[Some(keys_of(target, parts))], |_| has_expired = true)? };
    Ok(has_expired)
}

/// Locks all rows of the parts in the order of their keys, and tells the places of those that are there. To lock rows takes the right to
/// UPDATE: who does not have it can only delete them, in this order within a shape, and insert others.
///
/// # Errors
/// When SPI refuses the statement.
pub(super) fn lock(target: &Target, parts: &[Part], mut is_there: impl FnMut(i32)) -> Result<(), Failure> {
    if !target.may_lock() {
        return Ok(());
    }
    // SAFETY: the argument is an array of json, the column an integer.
    unsafe {
        target.lock.get()?.run(&[Some(keys_of(target, parts))], |row| row.get(0).into_iter().for_each(&mut is_there))
    }
}

/// Updates the rows of patches without changing anything in them, and says how many there were; none where none of their columns may
/// be written.
///
/// # Errors
/// When SPI refuses the statement; what it runs into is raised.
pub(super) fn touch(target: &Target, parts: &[Part]) -> Result<usize, Failure> {
    let field = parts.iter().find_map(|part| part.compiled.shape.fields.first());
    let column = target.layout.fields.iter().find(|column| match field {
        Some(name) => column.name == *name,
        None => !column.generated,
    });
    let Some(column) = column else { return Ok(0) };
    let mut touched = 0;
    // SAFETY: the argument is an array of json.
    unsafe { target.touch(&column.column)?.run(&[Some(keys_of(target, parts))], |_| touched += 1)? };
    Ok(touched)
}

/// Refuses parts in which a key comes twice.
///
/// # Errors
/// When one does, or SPI refuses the statement.
pub(super) fn refuse_duplicates(target: &Target, parts: &[Part]) -> Result<(), Failure> {
    let mut twice = None;
    // SAFETY: the argument is an array of json, the column an integer.
    unsafe { target.duplicate.get()?.run(&[Some(keys_of(target, parts))], |row| twice = row.get::<i32>(0))? };
    match twice {
        Some(place) => Err(Failure::new(b"21000", format!("the key of patch {place} is in the batch twice"))),
        None => Ok(()),
    }
}

struct Rounds<'a> {
    target: &'a Target,
    parts: &'a [Part],
    hlc: Option<pg_sys::Datum>,
    answers: Answers,
    is_answered: Vec<bool>,
    /// Whether a stamp of the patch was lowered.
    is_lowered: Vec<bool>,
    /// Whether the row is known to be there and locked.
    is_locked: Vec<bool>,
}

impl<'a> Rounds<'a> {
    /// The patches without answer, by part.
    fn open(&self) -> impl Iterator<Item = (&'a Part, Vec<u32>)> {
        let open = |part: &'a Part| part.numbers().filter(|number| !self.is_answered[*number as usize]).collect();
        self.parts.iter().map(move |part| (part, open(part)))
    }

    fn answer(&mut self, place: u32, record: Record) {
        self.is_answered[place as usize] = true;
        self.answers.push((place, Record { lowered: self.is_lowered[place as usize], ..record }));
    }

    /// Runs a statement that returns `(place, replaced, version, lost)` of what it applied, and says whether some row
    /// came without its place.
    fn apply(&mut self, part: &Part, statement: &Lazy) -> Result<bool, Failure> {
        let exact = part.compiled.exact;
        let mut is_lost = false;
        let arguments = [Some(part.rows), self.hlc];
        // SAFETY: the arguments and columns are those of the compiled statements.
        unsafe {
            statement.get()?.run(&arguments, |row| {
                let Some(place) = row.get::<i32>(0) else {
                    is_lost = true;
                    return;
                };
                let lost = row.get(3).unwrap_or(false);
                let record = Record {
                    exact: exact && !lost,
                    replaced: Version(row.get(1).unwrap_or(0)),
                    version: Version(row.get(2).unwrap_or(0)),
                    ..Record::of(if lost { Verdict::Merged } else { Verdict::Applied })
                };
                self.answer(place as u32, record);
            })?;
        }
        Ok(is_lost)
    }

    fn change(&mut self, part: &Part) -> Result<(), Failure> {
        match &part.compiled.change {
            Some(change) => self.apply(part, change).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Looks at the rows of open patches in a new snapshot: answers what is decided, and tries the others again. Says
    /// whether it could; when strict, not if it were to lock rows that came meanwhile, or to insert some after others.
    fn again(&mut self, round: usize, locking: Locking) -> Result<bool, Failure> {
        let mut inserts = Vec::new();
        let mut changes = Vec::new();
        let open: Vec<_> = self.open().filter(|(_, open)| !open.is_empty()).collect();
        for (part, open) in open {
            let (missing, applicable) = self.look(&part.subset(&open))?;
            if locking.strict && round > 0 && !missing.is_empty() {
                return Ok(false);
            }
            if !missing.is_empty() {
                inserts.push(part.subset(&missing));
            }
            if locking.strict && applicable.iter().any(|place| !self.is_locked[*place as usize]) {
                return Ok(false);
            }
            if !applicable.is_empty() {
                changes.push(part.subset(&applicable));
            }
        }
        for part in self.in_order(inserts)? {
            let inserted =
                wait_at_most(locking.insert_wait, part.places.len(), || self.apply(&part, &part.compiled.insert));
            if inserted? {
                self.stands_elsewhere(&part)?;
            }
        }
        changes.iter().try_for_each(|part| self.change(part))?;
        Ok(true)
    }

    /// Answers what is decided; returns what is to be inserted, and what is to be changed after all.
    fn look(&mut self, part: &Part) -> Result<(Vec<u32>, Vec<u32>), Failure> {
        let (mut missing, mut applicable) = (Vec::new(), Vec::new());
        let arguments = [Some(part.rows), self.hlc];
        // SAFETY: the arguments and columns are those of the compiled statement.
        unsafe {
            part.compiled.look.get()?.run(&arguments, |row| {
                let Some(place) = row.get::<i32>(0).map(|place| place as u32) else { return };
                let [is_there, is_applicable, is_lost, creates] =
                    [1, 2, 3, 5].map(|column| row.get(column).unwrap_or(false));
                let version = Version(row.get(4).unwrap_or(0));
                match (is_there, is_applicable) {
                    (false, _) if creates => missing.push(place),
                    (false, _) => self.answer(place, Record::of(Verdict::Missing)),
                    // A compare-and-set of no field: the row is still the one that it expects.
                    (true, true) if part.compiled.change.is_none() => {
                        self.answer(place, Record { version, ..Record::of(Verdict::Unchanged) });
                    }
                    (true, true) => applicable.push(place),
                    (true, false) => {
                        let verdict = match part.compiled.shape.kind {
                            PatchKind::CompareAndSet => Verdict::Conflict,
                            _ if is_lost => Verdict::Superseded,
                            _ => Verdict::Unchanged,
                        };
                        self.answer(place, Record { version, ..Record::of(verdict) });
                    }
                }
            })?;
        }
        Ok((missing, applicable))
    }

    /// A trigger gave rows of the part other keys, so nothing says whose they are: those of the patches that still have no row of their own.
    /// To try these again might make more rows of the kind.
    fn stands_elsewhere(&mut self, part: &Part) -> Result<(), Failure> {
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_WARNING,
            format!("a trigger of {} has given a row another key than its patch has", self.target.layout.relation),
            "stands_elsewhere",
        )
        .set_hint("The row is there, under that key, but the patch's key has none.")
        .report(PgLogLevel::WARNING);
        let open: Vec<_> = part.numbers().filter(|number| !self.is_answered[*number as usize]).collect();
        let (missing, _) = self.look(&part.subset(&open))?;
        missing.into_iter().for_each(|place| self.answer(place, Record::of(Verdict::Swallowed)));
        Ok(())
    }

    /// Parts whose patches, one part after the other, are in the order of their keys: inserts wait for inserts of the
    /// same key by others, and nothing can be locked before.
    fn in_order(&self, parts: Vec<Part>) -> Result<Vec<Part>, Failure> {
        if parts.len() < 2 {
            return Ok(parts);
        }
        let mut owner = vec![None; self.is_answered.len()];
        for (index, part) in parts.iter().enumerate() {
            part.numbers().for_each(|place| owner[place as usize] = Some(index));
        }
        let mut runs: Vec<(usize, Vec<u32>)> = Vec::new();
        // SAFETY: the argument is an array of json, the column an integer.
        unsafe {
            self.target.order.get()?.run(&[Some(keys_of(self.target, &parts))], |row| {
                let Some(place) = row.get::<i32>(0).map(|place| place as u32) else { return };
                let Some(index) = owner.get(place as usize).copied().flatten() else { return };
                match runs.last_mut() {
                    Some((last, places)) if *last == index => places.push(place),
                    _ => runs.push((index, vec![place])),
                }
            })?;
        }
        Ok(runs.into_iter().map(|(index, places)| parts[index].subset(&places)).collect())
    }
}
