//! The functions over `cs_clock` that the compiled statements call for every row and field.
//!
//! A stored stamp that is not plausible (somebody inserted a version of 2^63-1) loses to every write, so that it
//! cannot keep a field from being written for ever.

use crate::call::argument;
use crate::call::function::sql_functions;
use crate::pg::backend::OfBackend;
use crate::pg::value::{self, plain_bytes};
use crate::ring::hlc;
use cache_sync_core::clock::{self, Clock};
use cache_sync_core::number::{FieldId, Stamp, Version};
use pgrx::pg_sys;
use std::cell::Cell;
use std::cmp::Ordering;

/// How a write stamped `incoming` stands to the field's stored stamp.
fn compare(incoming: Stamp, stored: Option<&[u8]>, version: Version, field: FieldId) -> Ordering {
    match clock::compare(incoming, stored, version, field) {
        // Not to what is not plausible.
        Ordering::Less => incoming.cmp(&newest(&read(stored, version), field)),
        ordering => ordering,
    }
}

/// The stamp of whatever in the field was written last, of those that are plausible.
fn newest(clock: &Clock, field: FieldId) -> Stamp {
    clock.paths(field).map(believed).newest()
}

/// The row's clock; bytes that are none count as null, and stamps that are not plausible as 0.
pub(crate) fn read(stored: Option<&[u8]>, version: Version) -> Clock {
    Clock::decode(stored, version).unwrap_or_else(|_| Clock::all(Stamp(version.0)))
}

/// The field's stamp, or 0 for one that is not plausible.
pub(crate) fn stamp(clock: &Clock, field: FieldId) -> Stamp {
    believed(clock.stamp(field))
}

/// The stamp, or 0 if it is not plausible.
pub(crate) fn believed(stamp: Stamp) -> Stamp {
    if hlc::plausible(stamp.0) { stamp } else { Stamp(0) }
}

/// The newest plausible stamp in the clock, or 0.
pub(crate) fn newest_of_all(clock: &Clock) -> Stamp {
    let newest = Cell::new(Stamp(0));
    let _ = clock.clone().map(|stamp| {
        newest.set(newest.get().max(believed(stamp)));
        stamp
    });
    newest.get()
}

/// A clock with these stamps and the fewest exceptions; a field that is added later has the most common stamp. What is
/// in documents was written when `old` says.
pub(crate) fn compact(stamps: &[(FieldId, Stamp)], old: &Clock) -> Clock {
    let count = |stamp: Stamp| stamps.iter().filter(|(_, other)| *other == stamp).count();
    let mut base = stamps.first().map_or(Stamp(0), |(_, stamp)| *stamp);
    if count(base) * 2 <= stamps.len() {
        base = stamps.iter().map(|(_, stamp)| *stamp).max_by_key(|stamp| count(*stamp)).unwrap_or(base);
    }
    let mut clock = Clock::all(base).with_paths_of(old);
    stamps.iter().for_each(|(field, stamp)| clock.set(*field, *stamp));
    clock
}

/// The number under which a marked clock notes that `apply` decided this field in a way that its stamp does not show: the
/// row trigger must not take the new value for somebody else's change.
pub(crate) fn note_of(field: FieldId) -> FieldId {
    FieldId(field.0.wrapping_neg())
}

/// The field's stamp stays, and the larger value was taken.
pub(crate) const TIE: Stamp = Stamp(i64::MIN);
/// The field's rule takes stamps in its own way.
pub(crate) const DECIDED: Stamp = Stamp(i64::MIN + 1);

/// The stamps of a patch: one for all its fields, or one for each.
struct PatchStamps<'a>(&'a [i64]);

impl PatchStamps<'_> {
    fn of(&self, place: usize) -> Stamp {
        Stamp(self.0.get(place).or(self.0.first()).copied().unwrap_or(0))
    }
}

/// The arguments that most functions here share: `(stamps bigint[], clock bytea, version bigint, fields smallint[])`.
struct Contest<'a> {
    stamps: PatchStamps<'a>,
    stored: Option<&'a [u8]>,
    version: Version,
    fields: &'a [FieldId],
}

impl<'a> Contest<'a> {
    /// # Safety
    /// `fcinfo` must be of a function with these arguments.
    unsafe fn of(fcinfo: pg_sys::FunctionCallInfo) -> Contest<'a> {
        // SAFETY: the caller vouches for the arguments' types. The bytes of FieldId are those of an i16.
        unsafe {
            let fields: &[i16] = argument::elements(fcinfo, 3);
            Contest {
                stamps: PatchStamps(argument::elements(fcinfo, 0)),
                stored: argument::bytes(fcinfo, 1),
                version: argument::int8(fcinfo, 2),
                fields: std::slice::from_raw_parts(fields.as_ptr().cast(), fields.len()),
            }
        }
    }

    fn orderings(&self) -> impl Iterator<Item = Ordering> {
        self.fields
            .iter()
            .enumerate()
            .map(|(place, field)| compare(self.stamps.of(place), self.stored, self.version, *field))
    }

    /// How all fields stand, where that can be said at once.
    fn uniform(&self) -> Option<Ordering> {
        let [stamp] = self.stamps.0 else { return None };
        let stored = clock::uniform(self.stored, self.version)?;
        self.fields.first()?;
        Some(stamp.cmp(&believed(stored).0))
    }

    /// How the field stands that stands best, and whether all of them win.
    fn best(&self) -> (Ordering, bool) {
        match self.uniform() {
            Some(ordering) => (ordering, ordering.is_gt()),
            None => self.orderings().fold((Ordering::Less, !self.fields.is_empty()), |(best, all_win), ordering| {
                (best.max(ordering), all_win && ordering.is_gt())
            }),
        }
    }

    /// The row's clock after the patch, for `stamped`, all stamped fields of the table.
    fn merged(&self, stamped: &[i16]) -> Clock {
        // A field that had another rule when the patch was made need not be one of these.
        let is_all = self.fields.len() == stamped.len() && self.fields.iter().all(|field| stamped.contains(&field.0));
        if is_all && self.uniform() == Some(Ordering::Greater) {
            return Clock::all(self.stamps.of(0)).marked(true);
        }
        let old = read(self.stored, self.version);
        let (mut ties, mut whole) = (Vec::new(), Vec::new());
        let stamps: Vec<_> = stamped
            .iter()
            .map(|field| {
                let field = FieldId(*field);
                let stored = stamp(&old, field);
                let Some(place) = self.fields.iter().position(|own| *own == field) else { return (field, stored) };
                let incoming = self.stamps.of(place);
                let newest = newest(&old, field);
                if incoming < newest {
                    return (field, stored);
                }
                if incoming == newest {
                    ties.push(field);
                }
                // A document that is replaced has no parts of different ages any more.
                whole.push(field);
                (field, incoming)
            })
            .collect();
        let mut clock = compact(&stamps, &old).marked(true);
        whole.into_iter().filter(|field| old.has_paths(*field)).for_each(|field| clock.forget_paths(field));
        ties.into_iter().for_each(|tie| clock.set(note_of(tie), TIE));
        clock
    }
}

/// The contest that was decided last, if the patch won all of it: its first stamp, and the row's version. A compiled UPDATE
/// asks for the fields' values right after its condition, which decides the contest, has let the row through.
static ALL_WIN: OfBackend<Cell<Option<(Stamp, Version)>>> = OfBackend::new(Cell::new(None));

/// Keeps the last contest through what a user's code may do in the middle of a statement of ours; restored when dropped.
pub(crate) struct LastContest(Option<(Stamp, Version)>);

impl LastContest {
    /// Keeps it.
    pub(crate) fn keep() -> LastContest {
        LastContest(ALL_WIN.get())
    }
}

impl Drop for LastContest {
    fn drop(&mut self) {
        ALL_WIN.set(self.0);
    }
}

fn to_int(ordering: Ordering) -> pg_sys::Datum {
    pg_sys::Datum::from(ordering as i32)
}

sql_functions! {
    /// `compare(stamp bigint, clock bytea, version bigint, field smallint) -> integer`: 1 wins, 0 the larger value
    /// wins, -1 loses.
    fn clock_compare / pg_finfo_clock_compare(fcinfo) {
        // SAFETY: the install script declares these arguments.
        let (incoming, stored, version, field) =
            unsafe { (argument::int8(fcinfo, 0), argument::bytes(fcinfo, 1), argument::int8(fcinfo, 2), argument::int2(fcinfo, 3)) };
        Ok(to_int(compare(Stamp(incoming.0), stored, version, field)))
    }

    /// `wins(stamps, clock, version, fields) -> integer`: 1 when some field wins, 0 when none does but some are to be
    /// decided by value, else -1.
    fn clock_wins / pg_finfo_clock_wins(fcinfo) {
        // SAFETY: the install script declares these arguments.
        let contest = unsafe { Contest::of(fcinfo) };
        let (best, all_win) = contest.best();
        ALL_WIN.set(all_win.then(|| (contest.stamps.of(0), contest.version)));
        Ok(to_int(best))
    }

    /// `all_win(stamps, version) -> boolean`: whether `wins` decided last about this patch and row, and every field won.
    /// Otherwise it is for `compare` to say.
    fn clock_all_win / pg_finfo_clock_all_win(fcinfo) {
        // SAFETY: the install script declares these arguments.
        let (stamps, version) = unsafe { (PatchStamps(argument::elements(fcinfo, 0)), argument::int8(fcinfo, 1)) };
        Ok(pg_sys::Datum::from(ALL_WIN.get() == Some((stamps.of(0), version))))
    }

    /// `loses(stamps, clock, version, fields) -> boolean`: whether some field loses.
    fn clock_loses / pg_finfo_clock_loses(fcinfo) {
        // SAFETY: the install script declares these arguments.
        let contest = unsafe { Contest::of(fcinfo) };
        let loses = contest.uniform().map_or_else(|| contest.orderings().any(Ordering::is_lt), Ordering::is_lt);
        Ok(pg_sys::Datum::from(loses))
    }

    /// `clock_after(stamps, clock, version, fields, stamped smallint[]) -> bytea`: the marked clock of a row after a
    /// patch.
    fn clock_after / pg_finfo_clock_after(fcinfo) {
        // SAFETY: the install script declares these arguments.
        let (contest, stamped) = unsafe { (Contest::of(fcinfo), argument::elements(fcinfo, 4)) };
        Ok(value::bytea(&contest.merged(stamped).encode()))
    }

    /// `clock_first(clock bytea, wins boolean, field smallint, stamp bigint) -> bytea`: a marked clock, in which a patch
    /// is the first write of the field if it wins.
    fn clock_first / pg_finfo_clock_first(fcinfo) {
        // SAFETY: the install script declares these arguments.
        let (stored, wins, field, stamp) = unsafe {
            let wins = argument::datum(fcinfo, 1).is_some_and(|wins| wins.value() != 0);
            (argument::datum(fcinfo, 0), wins, argument::int2(fcinfo, 2), argument::int8(fcinfo, 3))
        };
        let stored = stored.ok_or_else(|| argument::null("clock"))?;
        if !wins {
            return Ok(stored);
        }
        // SAFETY: as above.
        let mut clock = read(Some(unsafe { plain_bytes(stored) }), Version::NONE);
        clock.set(field, Stamp(stamp.0));
        clock.set(note_of(field), DECIDED);
        Ok(value::bytea(&clock.encode()))
    }

    /// `clock_newest(clock bytea, version bigint) -> bigint`: the newest plausible stamp of anything in the row, or 0.
    fn clock_newest / pg_finfo_clock_newest(fcinfo) {
        // SAFETY: the install script declares these arguments.
        let (stored, version): (_, Version) = unsafe { (argument::bytes(fcinfo, 0), argument::int8(fcinfo, 1)) };
        Ok(pg_sys::Datum::from(newest_of_all(&read(stored, version)).max(believed(Stamp(version.0))).0))
    }

    /// `clock_new(stamps bigint[], fields smallint[], stamped smallint[]) -> bytea`: the clock of a row that a patch
    /// creates, marked. Fields that the patch does not carry count as written with it.
    fn clock_new / pg_finfo_clock_new(fcinfo) {
        // SAFETY: the install script declares these arguments.
        let (stamps, fields, stamped): (&[i64], &[i16], &[i16]) =
            unsafe { (argument::elements(fcinfo, 0), argument::elements(fcinfo, 1), argument::elements(fcinfo, 2)) };
        let stamps = PatchStamps(stamps);
        let newest = Stamp(stamps.0.iter().copied().max().unwrap_or(0));
        let of = |field: &i16| fields.iter().position(|own| own == field).map_or(newest, |place| stamps.of(place));
        let all: Vec<_> = stamped.iter().map(|field| (FieldId(*field), of(field))).collect();
        Ok(value::bytea(&compact(&all, &Clock::all(newest)).marked(true).encode()))
    }
}
