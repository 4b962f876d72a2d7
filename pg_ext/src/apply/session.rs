//! Sessions: one client's numbered line of batches to one table.

use super::shape::{Planning, Row, Statement, target};
use crate::call::answer;
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::pg::backend::OfBackend;
use crate::pg::failure::Failure;
use crate::pg::owner::as_owner;
use crate::pg::rights::is_selectable;
use crate::pg::{host_time, sqlstate, standby};
use crate::server::epoch;
use pgrx::{IntoDatum, Spi, pg_sys};
use std::cell::OnceCell;

const OPEN: &str = "INSERT INTO cache_sync.session AS s (session, table_id, fence) VALUES ($1, $2, 1) \
    ON CONFLICT (session, table_id) DO UPDATE SET fence = s.fence OPERATOR(pg_catalog.+) 1, used_at = pg_catalog.now() \
    RETURNING s.fence, s.last_seq";
const TAKE: &str = "SELECT fence, last_seq, digest, outcomes FROM cache_sync.session \
    WHERE session OPERATOR(pg_catalog.=) $1 AND table_id OPERATOR(pg_catalog.=) $2 FOR NO KEY UPDATE";
const KEEP: &str = "UPDATE cache_sync.session SET last_seq = $3, digest = $4, outcomes = $5, used_at = pg_catalog.now() \
    WHERE session OPERATOR(pg_catalog.=) $1 AND table_id OPERATOR(pg_catalog.=) $2";
const LAST: &str = "SELECT last_seq FROM cache_sync.session \
    WHERE session OPERATOR(pg_catalog.=) $1 AND table_id OPERATOR(pg_catalog.=) $2";
const SESSION: &[pg_sys::Oid] = &[pg_sys::UUIDOID, pg_sys::INT4OID];
const BATCH: &[pg_sys::Oid] = &[pg_sys::UUIDOID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::INT8OID, pg_sys::BYTEAOID];

static STATEMENTS: OfBackend<[OnceCell<Statement>; 4]> = OfBackend::new([const { OnceCell::new() }; 4]);

/// Runs one of the statements above as the extension's owner; SPI must be connected.
///
/// # Safety
/// The arguments must be of the statement's types.
unsafe fn run(which: usize, arguments: &[Option<pg_sys::Datum>], mut each: impl FnMut(&Row)) -> Result<(), Failure> {
    let (text, types) = [(OPEN, SESSION), (TAKE, SESSION), (KEEP, BATCH), (LAST, SESSION)][which];
    as_owner(|| {
        let statement = match STATEMENTS[which].get() {
            Some(statement) => statement,
            None => {
                let statement = Statement::new(text, types, Planning::Free)?;
                STATEMENTS[which].get_or_init(|| statement)
            }
        };
        // SAFETY: the caller vouches for the arguments. Only `load_state` asks for what its caller's snapshot sees.
        unsafe { if which == 3 { statement.read(arguments, &mut each) } else { statement.run(arguments, &mut each) } }
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
    /// It is the next one.
    Next,
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
            run(1, &[Some(self.id), Some(self.table_id.into())], |row| {
                state = Some((row.get::<i64>(0), row.get::<i64>(1), row.get::<i64>(2)));
                outcomes = row.get::<&[u8]>(3).map(<[u8]>::to_vec);
            })?;
        }
        let Some((Some(current), Some(last), kept)) = state else {
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
        Ok(Turn::Next)
    }

    /// Notes that batch `seq` was applied.
    ///
    /// # Errors
    /// When the extension's tables are not there.
    pub(crate) fn keep(self, seq: i64, digest: i64, outcomes: &[u8]) -> Result<(), Failure> {
        let arguments =
            [Some(self.id), Some(self.table_id.into()), Some(seq.into()), Some(digest.into()), outcomes.into_datum()];
        // SAFETY: the arguments are of `KEEP`'s types.
        unsafe { run(2, &arguments, |_| ()) }
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
                let mut opened = [None, None];
                Spi::connect_mut(|_| {
                    let target = target(table)?;
                    if !is_selectable(table) {
                        return Err(Failure::new(b"42501", format!("permission denied for {}", target.layout.relation)));
                    }
                    run(0, &[Some(id), Some(target.layout.table_id.into())], |row| {
                        opened = [row.datum(0), row.datum(1)];
                    })
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
                let (id, table_id) = (argument::datum(fcinfo, 0), argument::datum(fcinfo, 1));
                let mut last_seq = -1;
                if id.is_some() && table_id.is_some() {
                    Spi::connect(|_| run(3, &[id, table_id], |row| last_seq = row.get(0).unwrap_or(-1)))?;
                }
                let log_end = standby::log_end().0.cast_signed();
                answer::value(vec![epoch::current(), last_seq, log_end, host_time::now().0].into_datum())
            }
        })
    }
}
