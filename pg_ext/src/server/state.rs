//! What SQL asks of the server: which one it is, which library it has, what its clock says, and how it tells of changes.

use super::epoch;
use crate::call::answer;
use crate::call::function::sql_functions;
use crate::call::rows::Rows;
use crate::pg::host_time;
use crate::pg::standby::{is_standby, log_end};
use crate::ring;
use crate::ring::hlc;
use crate::tables::catalog::Locked;
use crate::tables::known;
use cache_sync_core::PROTOCOL;
use pgrx::{IntoDatum, pg_sys};

sql_functions! {
    /// `server_state() -> (in_recovery boolean, system bigint, timeline integer, database bigint, lsn bigint, epoch bigint,
    /// host_time bigint)`
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
        let database = known::secret(Locked::Wait).map_or(0, |secret| secret.id);
        rows.push([
            is_standby().into_datum(),
            system.cast_signed().into_datum(),
            timeline.cast_signed().into_datum(),
            database.into_datum(),
            log_end().0.cast_signed().into_datum(),
            epoch::current().into_datum(),
            host_time::now().0.into_datum(),
        ]);
        Ok(rows.end())
    }

    /// `feed_kind() -> text`
    fn feed_kind / pg_finfo_feed_kind(_fcinfo) {
        answer::value(if ring::is_there() { "stream" } else { "notify" }.into_datum())
    }

    /// `hlc() -> bigint`, the default of every `cs_version`.
    fn hlc_next / pg_finfo_hlc_next(_fcinfo) { Ok(pg_sys::Datum::from(hlc::next_of_row())) }
}

sql_functions! { without ring:
    /// `library() -> (version text, protocol integer)`
    fn library / pg_finfo_library(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in, and for these rows.
        let mut rows = unsafe { Rows::new(fcinfo) };
        rows.push([env!("CARGO_PKG_VERSION").into_datum(), PROTOCOL.into_datum()]);
        Ok(rows.end())
    }

    /// `is_preloaded() -> boolean`
    fn is_preloaded / pg_finfo_is_preloaded(_fcinfo) { Ok(pg_sys::Datum::from(ring::is_preloaded())) }
}
