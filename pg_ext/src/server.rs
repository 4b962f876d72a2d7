//! Which server this is: its history, where its log ends, and whether it is a standby, which has no feed: nobody publishes what it
//! replays.

pub(crate) mod epoch;

use crate::call::function::sql_functions;
use crate::call::rows::Rows;
use crate::pg::failure::Failure;
use crate::tables::catalog::Locked;
use crate::tables::table;
use cache_sync_core::number::Lsn;
use pgrx::{IntoDatum, pg_sys};

/// The longest header of a page of the log.
const PAGE_HEADER_MAX: u64 = 40;

sql_functions! {
    /// `server_state() -> (in_recovery boolean, system bigint, timeline integer, database bigint, lsn bigint, epoch bigint)`
    fn server_state / pg_finfo_server_state(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in, and for these rows.
        let mut rows = unsafe { Rows::new(fcinfo) };
        // SAFETY: reads of the server's state; a timeline that is written to only where there is one.
        let (system, timeline) = unsafe {
            let mut timeline = 0;
            if is_standby() {
                pg_sys::GetXLogReplayRecPtr(&raw mut timeline);
            } else {
                timeline = pg_sys::GetWALInsertionTimeLine();
            }
            (pg_sys::GetSystemIdentifier(), timeline)
        };
        // The databases of a server have different secrets, and a standby has the primary's.
        let database = table::secret(Locked::Wait).map_or(0, |secret| secret.id);
        rows.push([
            is_standby().into_datum(),
            system.cast_signed().into_datum(),
            timeline.cast_signed().into_datum(),
            database.into_datum(),
            log_end().0.cast_signed().into_datum(),
            epoch::current().into_datum(),
        ]);
        Ok(rows.end())
    }
}

/// Whether the server replays another one's log.
pub(crate) fn is_standby() -> bool {
    // SAFETY: a read of the server's state.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// # Errors
/// CS008 on a standby.
pub(crate) fn refuse_standby() -> Result<(), Failure> {
    if is_standby() {
        return Err(
            Failure::new(b"CS008", "cache_sync has no feed on a standby").hint("Connect to the primary server.")
        );
    }
    Ok(())
}

/// Where the log ends, or up to where it has been replayed.
pub(crate) fn log_end() -> Lsn {
    // SAFETY: reads of the server's state.
    let end = unsafe {
        if is_standby() { pg_sys::GetXLogReplayRecPtr(std::ptr::null_mut()) } else { pg_sys::GetXLogInsertRecPtr() }
    };
    // Where the next record will begin may be behind a page's header; who has replayed everything stands ahead of it.
    let in_page = end % u64::from(pg_sys::XLOG_BLCKSZ);
    Lsn(if in_page <= PAGE_HEADER_MAX { end - in_page } else { end })
}
