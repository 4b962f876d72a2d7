//! The epoch that SQL and the feed show: the ring's own, mixed with the number of the database's hash key, so that
//! creating the extension anew is a new epoch too. Without a ring a number of the server and its start stands for it.

use crate::catalog::Locked;
use crate::failure::sql_functions;
use crate::rows::Rows;
use crate::{ring, table};
use cache_sync_core::number::Epoch;
use pgrx::{IntoDatum, pg_sys};

/// The epoch.
pub(crate) fn current() -> i64 {
    of(table::secret(Locked::Wait).map_or(0, |secret| secret.id)).0 as i64
}

/// The epoch under a hash key's number. Both numbers are below 2^53, and so is what they mix to.
pub(crate) fn of(hash_key_id: i64) -> Epoch {
    Epoch(ring::epoch().unwrap_or_else(of_server) ^ hash_key_id.unsigned_abs())
}

/// Tells servers apart, and their starts.
fn of_server() -> u64 {
    // SAFETY: reads what the postmaster knew before it forked this backend.
    let (server, start) = unsafe { (pg_sys::GetSystemIdentifier(), pg_sys::PgStartTime) };
    (server ^ start.unsigned_abs()) & ((1 << ring::EPOCH_BITS) - 1)
}

sql_functions! {
    /// `epoch() -> bigint`
    fn epoch_current / pg_finfo_epoch_current(_fcinfo) { Ok(pg_sys::Datum::from(current())) }

    /// `server_state() -> (in_recovery boolean, system bigint, timeline integer, lsn bigint, epoch bigint)`
    fn server_state / pg_finfo_server_state(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in, and for these rows.
        let mut rows = unsafe { Rows::new(fcinfo) };
        // SAFETY: reads of the server's state, of the log's end only where there is one.
        let (in_recovery, system, timeline, lsn) = unsafe {
            let in_recovery = pg_sys::RecoveryInProgress();
            let mut timeline = 0;
            let lsn = if in_recovery {
                pg_sys::GetXLogReplayRecPtr(&raw mut timeline)
            } else {
                timeline = pg_sys::GetWALInsertionTimeLine();
                pg_sys::GetXLogInsertRecPtr()
            };
            (in_recovery, pg_sys::GetSystemIdentifier(), timeline, lsn)
        };
        let (system, timeline) = (system.cast_signed().into_datum(), timeline.cast_signed().into_datum());
        rows.push([in_recovery.into_datum(), system, timeline, lsn.cast_signed().into_datum(), current().into_datum()]);
        Ok(rows.end())
    }

    /// `is_preloaded() -> boolean`
    fn is_preloaded / pg_finfo_is_preloaded(_fcinfo) { Ok(pg_sys::Datum::from(ring::is_preloaded())) }
}
