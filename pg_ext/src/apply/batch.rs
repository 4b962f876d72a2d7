//! `apply`: numbered batches, for the SDK.

use super::counted::Counted;
use super::kept::Kept;
use super::part::{self, Part};
use super::poison::{Blame, Refusal, attempt, attempt_unless, make_constraints_immediate};
use super::rounds::{self, Answers, Locking};
use super::session::{Session, Turn};
use super::shape::{Shape, Target, target};
use crate::call::answer;
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::pg::failure::Failure;
use crate::pg::patience::{self, Short};
use crate::pg::{sqlstate, value};
use crate::ring::hlc;
use crate::server::epoch;
use cache_sync_core::key::{HashKey, KeyHasher, KeyPart};
use cache_sync_core::outcome::{self, Record, Verdict};
use pgrx::{IntoDatum, Spi, pg_sys};

/// How often a batch starts over rather than lock rows in another order than that of their keys.
const STARTS_OVER_MAX: usize = 8;

/// A batch as it came.
struct Batch {
    session: Session,
    seq: i64,
    shapes: Vec<Shape>,
    rows: Vec<pg_sys::Datum>,
    blame: Blame,
}

sql_functions! {
    /// `apply(tbl regclass, session uuid, fence bigint, seq bigint, shapes jsonb, rows text[], OUT epoch bigint,
    /// OUT last_seq bigint, OUT outcomes bytea)`
    fn apply / pg_finfo_apply(fcinfo) {
        // SAFETY: the install script declares these arguments and results.
        unsafe { apply_batch(fcinfo, Blame::ByCode) }
    }

    /// The same, for a batch that has failed before: whatever Postgres says may be the fault of a patch.
    fn apply_suspicious / pg_finfo_apply_suspicious(fcinfo) {
        // SAFETY: the install script declares these arguments and results.
        unsafe { apply_batch(fcinfo, Blame::Any) }
    }
}

/// # Safety
/// `fcinfo` must be of a function with these arguments and results.
unsafe fn apply_batch(fcinfo: pg_sys::FunctionCallInfo, blame: Blame) -> Result<pg_sys::Datum, Failure> {
    let counted = Counted::begin();
    let applied = sqlstate::preserving(|| {
        let _kept = Kept::keep();
        // SAFETY: the caller vouches for arguments and results.
        unsafe {
            let table = argument::<pg_sys::Oid>(fcinfo, 0).ok_or_else(|| argument::null("tbl"))?;
            let id = argument::datum(fcinfo, 1).ok_or_else(|| argument::null("session"))?;
            let fence = argument::<i64>(fcinfo, 2).ok_or_else(|| argument::null("fence"))?;
            let seq = argument::<i64>(fcinfo, 3).ok_or_else(|| argument::null("seq"))?;
            let shapes = argument::plain(fcinfo, 4).ok_or_else(|| argument::null("shapes"))?;
            let rows = argument::plain(fcinfo, 5).ok_or_else(|| argument::null("rows"))?;
            let outcomes = Spi::connect_mut(|_| {
                let target = target(table)?;
                let session = Session { id, table_id: target.layout.table_id };
                counted.is_of(session);
                let rows = plain_rows(rows)?;
                let digest = digest(shapes, &rows);
                let packed = match session.take(fence, seq, digest)? {
                    Turn::Again(outcomes) => outcomes,
                    Turn::Next { stretch } => {
                        let shapes = Shape::read(value::text_of_jsonb(shapes))?;
                        let batch = Batch { session, seq, shapes, rows, blame };
                        let records = batch.apply(&target)?;
                        let outcomes = outcome::pack(&records);
                        session.keep(stretch, seq, digest, &outcomes)?;
                        counted.applied(&records);
                        outcomes
                    }
                };
                Ok(packed)
            })?;
            let epoch = epoch::current().into();
            answer::record(fcinfo, &mut [Some(epoch), Some(seq.into()), outcomes.into_datum()])
        }
    });
    applied.inspect_err(|failure| counted.failed(failure))
}

impl Batch {
    fn apply(self, target: &Target) -> Result<Vec<Record>, Failure> {
        if self.shapes.len() != self.rows.len() {
            let message = format!("there are {} shapes but {} rows", self.shapes.len(), self.rows.len());
            return Err(Failure::new(b"22023", message));
        }
        let hlc = hlc::next();
        let mut parts = Vec::with_capacity(self.rows.len());
        for (shape, rows) in self.shapes.iter().zip(&self.rows) {
            // SAFETY: `plain_rows` has made the rows plain.
            parts.push(unsafe { Part::new(target, shape, *rows, hlc)? });
        }
        parts.retain(|part| !part.places.is_empty());
        let total = part::count(&parts)?;
        commit_durably();
        let mut records = vec![Record::of(Verdict::Swallowed); total];
        let mut refused = Vec::new();
        for (place, record) in self.isolate(target, &parts, hlc, &mut refused, true)? {
            records[place as usize] = record;
        }
        self.acquit(target, &parts, &refused, &records)?;
        for (part, refusal) in &refused {
            let (place, record) = part.bury(self.session, self.seq, hlc, refusal)?;
            records[place as usize] = record;
        }
        Ok(records)
    }

    /// Where patches were refused under suspicion and none was applied, it may be the table that cannot be written rather than they:
    /// that shows when its rows are updated without changing anything in them. Then the batch waits.
    fn acquit(
        &self,
        target: &Target,
        parts: &[Part],
        refused: &[(Part, Refusal)],
        records: &[Record],
    ) -> Result<(), Failure> {
        let is_applied = |record: &Record| matches!(record.verdict, Verdict::Applied | Verdict::Merged);
        let Some((_, suspicion)) = refused.iter().find(|(_, refusal)| refusal.is_suspicion) else { return Ok(()) };
        if records.iter().any(is_applied) {
            return Ok(());
        }
        let mut touched = 0;
        let probe = attempt(Blame::Probe, || {
            touched = rounds::touch(target, parts)?;
            make_constraints_immediate();
            Ok(None::<()>)
        })?;
        // Where there is no row to be touched, the code has to do.
        if probe.is_ok() && (touched > 0 || suspicion.may_be_of_a_value()) {
            return Ok(());
        }
        Err(Failure::new(&suspicion.sqlstate, suspicion.message.clone()))
    }

    /// Applies the parts, but without the patches that Postgres refuses, which it finds by halving.
    fn isolate(
        &self,
        target: &Target,
        parts: &[Part],
        hlc: i64,
        refused: &mut Vec<(Part, Refusal)>,
        is_whole: bool,
    ) -> Result<Answers, Failure> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let refusal = match self.in_order(target, parts, hlc)? {
            Ok(answers) => return Ok(answers),
            Err(refusal) => refusal,
        };
        if let [part] = parts
            && part.places.len() == 1
        {
            if refusal.is_deferred {
                // What is violated without the patch is the caller's own error, and raised as that.
                make_constraints_immediate();
            }
            refused.push((part.clone(), refusal));
            return Ok(Vec::new());
        }
        if is_whole {
            // The halves would lock in an order of their own, and not see each other's keys. When a patch has a key that
            // cannot be read, the halving has to do without.
            let _ = attempt(self.blame, || {
                rounds::refuse_duplicates(target, parts)?;
                rounds::lock(target, parts, |_| ())?;
                Ok(Some(()))
            })?;
        }
        let mut answers = Vec::new();
        for half in part::halves(parts) {
            answers.extend(self.isolate(target, &half, hlc, refused, false)?);
        }
        Ok(answers)
    }

    /// Applies the parts, starting over when rows would have to be locked out of the order of their keys.
    fn in_order(&self, target: &Target, parts: &[Part], hlc: i64) -> Result<Result<Answers, Refusal>, Failure> {
        for start in 0..=STARTS_OVER_MAX {
            let strict = start < STARTS_OVER_MAX;
            let insert_wait = if strict { Short::of_settings() } else { None };
            let locking = Locking { first: start > 0 || parts.len() > 1, strict, insert_wait };
            let (mut is_deferred, mut has_waited) = (false, true);
            let applied = attempt_unless(self.blame, insert_wait.map(|_| patience::LOCK_NOT_AVAILABLE), || {
                let answers = rounds::run(target, parts, hlc, locking)?;
                has_waited = false;
                if answers.is_some() {
                    is_deferred = true;
                    make_constraints_immediate();
                }
                Ok(answers)
            })?;
            match applied {
                Ok(None) if has_waited => patience::make_way(start),
                Ok(None) => {}
                Ok(Some(answers)) => return Ok(Ok(answers)),
                Err(refusal) => return Ok(Err(Refusal { is_deferred, ..refusal })),
            }
        }
        Err(Failure::new(b"XX000", "a batch did not come to an end"))
    }
}

/// The elements of `rows`, as json.
///
/// # Errors
/// When there are nulls among them, or the array has another form; of texts that are no JSON Postgres' error is raised.
///
/// # Safety
/// `rows` must be an array of text, neither compressed nor stored elsewhere.
unsafe fn plain_rows(rows: pg_sys::Datum) -> Result<Vec<pg_sys::Datum>, Failure> {
    let array = rows.cast_mut_ptr::<pg_sys::ArrayType>();
    // SAFETY: the caller vouches for the array: its dimensions and lower bounds follow its header, and it is taken
    // apart as an array of values of variable length aligned to integers.
    unsafe {
        let dimensions = (*array).ndim;
        let lower_bound = *array.add(1).cast::<i32>().add(1);
        if dimensions > 1 || (dimensions == 1 && lower_bound != 1) {
            return Err(Failure::new(b"2202E", "rows must be an array of one dimension that begins at 1"));
        }
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        let align = pg_sys::TYPALIGN_INT as std::ffi::c_char;
        pg_sys::deconstruct_array(array, pg_sys::TEXTOID, -1, false, align, &mut values, &mut nulls, &mut count);
        if (0..count as usize).any(|place| *nulls.add(place)) {
            return Err(argument::null("an element of rows"));
        }
        (0..count as usize)
            .map(|place| {
                let text = pg_sys::pg_detoast_datum((*values.add(place)).cast_mut_ptr());
                value::check_json(pgrx::varlena::varlena_to_byte_slice(text))?;
                Ok(text.into())
            })
            .collect()
    }
}

/// What tells a batch that is sent again from another one under its number.
///
/// # Safety
/// All must be plain values of variable length.
unsafe fn digest(shapes: pg_sys::Datum, rows: &[pg_sys::Datum]) -> i64 {
    // The secret of database keys plays no part: the digest is compared with one made from what the same client sent.
    let mut hasher = KeyHasher::new(&HashKey([0; 16]));
    for datum in std::iter::once(&shapes).chain(rows) {
        // SAFETY: the caller vouches for the values.
        hasher.part(KeyPart::Bytes(unsafe { pgrx::varlena::varlena_to_byte_slice(datum.cast_mut_ptr()) }));
    }
    hasher.finish().0 as i64
}

/// An outcome says that a patch is durable, so the commit must wait for the disk whatever the role's settings say. Whether it waits for
/// standbys, too, is for whoever administers the server to say.
fn commit_durably() {
    // SAFETY: a plain variable of the backend; the setting is one that users may set, and lasts until the end of the
    // transaction.
    unsafe {
        if pg_sys::synchronous_commit == pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32 {
            pg_sys::set_config_option(
                c"synchronous_commit".as_ptr(),
                c"on".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_LOCAL,
                true,
                0,
                false,
            );
        }
    }
}
