//! What there is to see of the ring and its feeds, for the views.

use super::subscription::Subscription;
use crate::call::argument::argument;
use crate::call::function::sql_functions;
use crate::call::rows::{Rows, bigint};
use crate::pg::failure::Failure;
use crate::pg::rights::{is_monitor, is_owned, name_of};
use crate::pg::{host_time, sqlstate};
use crate::ring::{self, FailedSession, Name, TableCounts, view};
use crate::server::epoch;
use crate::tables::catalog::{self, Locked};
use crate::tables::known;
use cache_sync_core::number::TableId;
use pgrx::{IntoDatum, pg_sys};

/// Microseconds from 1970 to 2000, where Postgres' timestamps begin.
const TO_2000: i64 = 946_684_800_000_000;

sql_functions! {
    /// The rows of the view `listeners`, the database by oid
    fn listeners_now / pg_finfo_listeners_now(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in, and for these rows.
        let mut rows = unsafe { Rows::new(fcinfo) };
        let head = ring::head();
        for seen in view::listeners() {
            let lag = head.saturating_sub(seen.position);
            let (pid, armed) = (seen.pid.into_datum(), seen.armed.into_datum());
            let (delivered, gaps) = (bigint(seen.delivered), bigint(seen.gaps));
            let old = seen.as_of.and_then(|as_of| (host_time::now().0 - as_of.0).max(0).into_datum());
            rows.push([pid, seen.database.into_datum(), bigint(seen.position), bigint(lag), armed, delivered, gaps, old]);
        }
        Ok(rows.end())
    }

    /// The row of the view `feed_stats`
    fn feed_stats_now / pg_finfo_feed_stats_now(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in, and for these rows.
        let mut rows = unsafe { Rows::new(fcinfo) };
        let (head, seen) = (ring::head(), view::feed());
        let slowest = view::listeners().into_iter().min_by_key(|listener| listener.position);
        rows.push([
            epoch::current().into_datum(),
            bigint(head),
            bigint(ring::size()),
            i32::try_from(view::listeners_count()).into_iter().next().into_datum(),
            bigint(seen.published),
            bigint(seen.delivered),
            bigint(seen.gaps),
            bigint(seen.flushes),
            bigint(head.min(ring::size())),
            slowest.as_ref().map(|listener| listener.pid).into_datum(),
            slowest.as_ref().and_then(|listener| bigint(head.saturating_sub(listener.position))),
            bigint(seen.uncounted),
            if ring::is_there() { timestamp(seen.since) } else { None },
        ]);
        Ok(rows.end())
    }

    /// The rows of the view `table_stats`, of tables whose rows the caller may all read, or of all if he is to watch the server
    fn table_stats_now / pg_finfo_table_stats_now(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: Postgres calls this function with a call it has filled in, and for these rows.
            let mut rows = unsafe { Rows::new(fcinfo) };
            let (shown, failed) = (Shown::new()?, view::failed_sessions(known::incarnation()));
            for seen in view::tables(known::incarnation()).into_iter().filter(|table| shown.counts(table.id)) {
                let last = failed.iter().filter(|failed| failed.id == seen.id).max_by_key(|failed| failed.last);
                let message = last.filter(|last| shown.rows(last.id)).map(|last| last.message.as_str());
                rows.push(row_of(&seen, message));
            }
            Ok(rows.end())
        })
    }

    /// The rows of the view `stuck_batches`
    fn stuck_batches_now / pg_finfo_stuck_batches_now(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: Postgres calls this function with a call it has filled in, and for these rows.
            let mut rows = unsafe { Rows::new(fcinfo) };
            let shown = Shown::new()?;
            let is_stuck = |failed: &FailedSession| failed.failures > 0 && shown.counts(failed.id);
            for stuck in view::failed_sessions(known::incarnation()).into_iter().filter(is_stuck) {
                rows.push([
                    stuck.id.0.into_datum(),
                    pgrx::Uuid::from_bytes(stuck.session).into_datum(),
                    bigint(stuck.failures),
                    timestamp(stuck.since),
                    timestamp(stuck.last),
                    text(&stuck.sqlstate),
                    if shown.rows(stuck.id) { stuck.message.into_datum() } else { None },
                ]);
            }
            Ok(rows.end())
        })
    }

    /// `reset_stats(tbl regclass)`
    fn reset_stats / pg_finfo_reset_stats(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares this argument.
            let table: Option<pg_sys::Oid> = unsafe { argument(fcinfo, 0) };
            let attached = catalog::attached(None, Locked::Wait).unwrap_or_default();
            let name = |id| Name::of(id, known::incarnation());
            match table {
                Some(table) => {
                    if !is_owned(table) {
                        return Err(Failure::new(b"42501", format!("must be owner of table {}", name_of(table))));
                    }
                    let attached = attached.iter().find(|attached| attached.relid == table);
                    let not_attached = || Failure::new(b"CS005", format!("{} is not attached", name_of(table)));
                    view::reset_table(name(attached.ok_or_else(not_attached)?.id));
                }
                // SAFETY: looks the user up in the system catalogs.
                None if unsafe { pg_sys::superuser() } => {
                    attached.iter().for_each(|attached| view::reset_table(name(attached.id)));
                    view::reset_server();
                }
                None => {
                    return Err(Failure::new(b"42501", "must be superuser to count all anew")
                        .hint("Name a table that you own."));
                }
            }
            Ok(pg_sys::Datum::from(0))
        })
    }
}

/// What the caller is shown.
struct Shown {
    readable: Subscription,
    is_monitor: bool,
}

impl Shown {
    fn new() -> Result<Shown, Failure> {
        Ok(Shown { readable: Subscription::new(None)?, is_monitor: is_monitor() })
    }

    /// Of a table: how much happened, and how often it failed.
    fn counts(&self, table: TableId) -> bool {
        self.is_monitor || self.rows(table)
    }

    /// Of a table: what its rows hold, which messages repeat.
    fn rows(&self, table: TableId) -> bool {
        self.readable.table(table).is_some_and(|table| !table.has_hidden_rows)
    }
}

fn row_of(seen: &TableCounts, message: Option<&str>) -> [Option<pg_sys::Datum>; 19] {
    let [applied, merged, superseded, unchanged, missing, conflict, rejected, swallowed] = seen.verdicts.map(bigint);
    let seconds = |micros: u64| (micros as f64 / 1e6).into_datum();
    [
        seen.id.0.into_datum(),
        bigint(seen.changes),
        bigint(seen.flushes),
        bigint(seen.batches),
        applied,
        merged,
        superseded,
        unchanged,
        missing,
        conflict,
        rejected,
        swallowed,
        seconds(seen.apply_micros),
        seconds(seen.apply_micros_max),
        bigint(seen.failures),
        seen.last_failure.and_then(|(_, sqlstate)| text(&sqlstate)),
        seen.last_failure.and_then(|(seconds, _)| timestamp(seconds * 1_000_000)),
        message.into_datum(),
        timestamp(seen.since),
    ]
}

/// A timestamp with time zone, of microseconds since 1970.
fn timestamp(micros: i64) -> Option<pg_sys::Datum> {
    (micros - TO_2000).into_datum()
}

fn text(sqlstate: &[u8; 5]) -> Option<pg_sys::Datum> {
    String::from_utf8_lossy(sqlstate).into_owned().into_datum()
}
