//! Sessions: one client's numbered line of batches to one table.

use super::shape::{Planning, Row, Statement, known};
use crate::call::answer;
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::pg::backend::OfBackend;
use crate::pg::failure::Failure;
use crate::pg::owner::as_owner;
use crate::pg::rights::is_selectable;
use crate::pg::{host_time, sqlstate, standby};
use crate::server::epoch;
use crate::tables::catalog::{AsOf, newest_stretch};
use pgrx::{IntoDatum, Spi, pg_sys};
use std::cell::OnceCell;

// A session's row moves on to a new key after every 16 batches, the stretch of its line. So while a snapshot is held, for which
// Postgres must keep all versions of the row, those of older stretches lie under keys that nobody looks at: the newest stretch is read
// first, and holds 16 versions at most. (Were each batch a key of its own, no update would be HOT.)
const OPEN: &str = "INSERT INTO cache_sync.session AS s (session, table_id, fence) VALUES ($1, $2, 1) \
    ON CONFLICT (session, table_id, stretch) DO UPDATE SET fence = s.fence OPERATOR(pg_catalog.+) 1, used_at = pg_catalog.now() \
    RETURNING s.fence, s.last_seq, s.stretch";
const OPEN_AGAIN: &str = "UPDATE cache_sync.session SET fence = fence OPERATOR(pg_catalog.+) 1, used_at = pg_catalog.now() \
    WHERE session OPERATOR(pg_catalog.=) $1 AND table_id OPERATOR(pg_catalog.=) $2 AND stretch OPERATOR(pg_catalog.=) $3 \
    RETURNING fence, last_seq, stretch";
const TAKE: &str = "SELECT fence, last_seq, digest, outcomes, stretch FROM cache_sync.session \
    WHERE session OPERATOR(pg_catalog.=) $1 AND table_id OPERATOR(pg_catalog.=) $2 ORDER BY stretch DESC LIMIT 1 FOR NO KEY UPDATE";
const KEEP: &str = "UPDATE cache_sync.session SET last_seq = $3, digest = $4, outcomes = $5, used_at = pg_catalog.now() \
    WHERE session OPERATOR(pg_catalog.=) $1 AND table_id OPERATOR(pg_catalog.=) $2 AND stretch OPERATOR(pg_catalog.=) $6";
const SESSION: &[pg_sys::Oid] = &[pg_sys::UUIDOID, pg_sys::INT4OID];
const STRETCH: &[pg_sys::Oid] = &[pg_sys::UUIDOID, pg_sys::INT4OID, pg_sys::INT8OID];
const BATCH: &[pg_sys::Oid] =
    &[pg_sys::UUIDOID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::INT8OID, pg_sys::BYTEAOID, pg_sys::INT8OID];

/// What the statements above do.
#[derive(Clone, Copy)]
enum Step {
    Open,
    OpenAgain,
    Take,
    Keep,
}

static STATEMENTS: OfBackend<[OnceCell<Statement>; 4]> = OfBackend::new([const { OnceCell::new() }; 4]);

/// Runs one of the statements above as the extension's owner; SPI must be connected.
///
/// # Safety
/// The arguments must be of the statement's types.
unsafe fn run(step: Step, arguments: &[Option<pg_sys::Datum>], mut each: impl FnMut(&Row)) -> Result<(), Failure> {
    let (text, types) = [(OPEN, SESSION), (OPEN_AGAIN, STRETCH), (TAKE, SESSION), (KEEP, BATCH)][step as usize];
    as_owner(|| {
        let statement = match STATEMENTS[step as usize].get() {
            Some(statement) => statement,
            None => {
                // A scan of the table would come by all the versions that are left.
                let statement = Statement::new(text, types, Planning::ByIndex)?;
                STATEMENTS[step as usize].get_or_init(|| statement)
            }
        };
        // SAFETY: the caller vouches for the arguments.
        unsafe { statement.run(arguments, &mut each) }
    })?
}

/// A client's place in its line of batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    /// The session's uuid, as a datum.
    pub(crate) id: pg_sys::Datum,
    pub(crate) table_id: i32,
}

/// What a session says to a batch.
pub(crate) enum Turn {
    /// It is the next one; the session is in this stretch of its line.
    Next { stretch: i64 },
    /// It was applied before, with these outcomes.
    Again(Vec<u8>),
}

impl Session {
    /// Locks the session and finds out what to do with batch `seq`.
    ///
    /// # Errors
    /// When the session is not there, was opened by another client, or the batch does not follow.
    pub(crate) fn take(self, fence: i64, seq: i64, digest: i64) -> Result<Turn, Failure> {
        let mut state = None;
        let mut outcomes = None;
        // SAFETY: the arguments are a uuid and an integer, the columns those of `TAKE`.
        unsafe {
            run(Step::Take, &[Some(self.id), Some(self.table_id.into())], |row| {
                state = Some((row.get::<i64>(0), row.get::<i64>(1), row.get::<i64>(2), row.get::<i64>(4)));
                outcomes = row.get::<&[u8]>(3).map(<[u8]>::to_vec);
            })?;
        }
        let Some((Some(current), Some(last), kept, Some(stretch))) = state else {
            return Err(Failure::new(b"CS001", "there is no such session")
                .hint("It has expired, or the database was restored: open another one."));
        };
        if current != fence {
            return Err(Failure::new(b"CS002", "another client has opened this session"));
        }
        if seq == last && seq > 0 {
            return match outcomes {
                Some(outcomes) if kept == Some(digest) => Ok(Turn::Again(outcomes)),
                _ => Err(Failure::new(b"CS004", format!("batch {seq} had another content"))),
            };
        }
        if last.checked_add(1) != Some(seq) {
            return Err(
                Failure::new(b"CS003", format!("batch {seq} does not follow")).detail(format!("last_seq={last}"))
            );
        }
        Ok(Turn::Next { stretch })
    }

    /// Notes that batch `seq` was applied.
    ///
    /// # Errors
    /// When the extension's tables are not there.
    pub(crate) fn keep(self, stretch: i64, seq: i64, digest: i64, outcomes: &[u8]) -> Result<(), Failure> {
        let arguments = [
            Some(self.id),
            Some(self.table_id.into()),
            Some(seq.into()),
            Some(digest.into()),
            outcomes.into_datum(),
            Some(stretch.into()),
        ];
        // SAFETY: the arguments are of `KEEP`'s types.
        unsafe { run(Step::Keep, &arguments, |_| ()) }
    }

    /// Opens the session, and hands back its fence and last number.
    fn open(self) -> Result<[Option<pg_sys::Datum>; 2], Failure> {
        let (mut opened, mut stretch) = ([None, None], None);
        let (id, table_id) = (Some(self.id), Some(self.table_id.into()));
        // SAFETY: the arguments are of the statements' types, the columns those that they return; fence and number are passed by value.
        unsafe {
            run(Step::Take, &[id, table_id], |row| stretch = row.get::<i64>(4))?;
            let (step, arguments) = match stretch {
                Some(_) => (Step::OpenAgain, &[id, table_id, stretch.map(Into::into)][..]),
                None => (Step::Open, &[id, table_id][..]),
            };
            run(step, arguments, |row| {
                opened = [row.datum(0), row.datum(1)];
                stretch = row.get(2);
            })?;
            // Whoever opened it meanwhile for the first time, too, and has come to another stretch by now, met no conflict.
            let newest = newest_stretch(self.id, self.table_id, AsOf::Now).map(|row| row.stretch);
            if newest != stretch {
                return Err(Failure::new(b"40001", "the session was opened by somebody else at the same time"));
            }
        }
        Ok(opened)
    }
}

sql_functions! {
    /// `open_session(tbl regclass, session uuid, OUT fence bigint, OUT last_seq bigint)`: makes older fences of the
    /// session worthless.
    fn open_session / pg_finfo_open_session(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares these arguments and results.
            unsafe {
                let table = argument::<pg_sys::Oid>(fcinfo, 0).ok_or_else(|| argument::null("tbl"))?;
                let id = argument::datum(fcinfo, 1).ok_or_else(|| argument::null("session"))?;
                let mut opened = Spi::connect_mut(|_| {
                    let target = known(table)?;
                    if !is_selectable(table) {
                        return Err(Failure::new(b"42501", format!("permission denied for {}", target.layout.relation)));
                    }
                    Session { id, table_id: target.layout.table_id }.open()
                })?;
                answer::record(fcinfo, &mut opened)
            }
        })
    }

    /// `load_state(session uuid, table_id integer) -> bigint[]`: `{epoch, last_seq, lsn, host_time}`: the number as the calling query's snapshot
    /// sees it, -1 without such a session; where the log ends that the snapshot saw, at the latest; the clock of the server's host.
    fn load_state / pg_finfo_load_state(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares these arguments and the result.
            unsafe {
                let session = argument::datum(fcinfo, 0).zip(argument::<i32>(fcinfo, 1));
                let row = session.and_then(|(id, table_id)| newest_stretch(id, table_id, AsOf::Query));
                let last_seq = row.map_or(-1, |row| row.last_seq);
                let log_end = standby::log_end().0.cast_signed();
                answer::value(vec![epoch::current(), last_seq, log_end, host_time::now().0].into_datum())
            }
        })
    }
}
