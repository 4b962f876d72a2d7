//! What there is to see of the ring and its feeds, for the views.

use super::subscription::Subscription;
use crate::call::function::sql_functions;
use crate::call::rows::{Rows, bigint};
use crate::pg::sqlstate;
use crate::ring::{self, TableCounts, view};
use crate::server::epoch;
use pgrx::IntoDatum;

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
            rows.push([pid, seen.database.into_datum(), bigint(seen.position), bigint(lag), armed, delivered, gaps]);
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
        ]);
        Ok(rows.end())
    }

    /// The rows of the view `table_stats`, of tables whose rows the caller may all read
    fn table_stats_now / pg_finfo_table_stats_now(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: Postgres calls this function with a call it has filled in, and for these rows.
            let mut rows = unsafe { Rows::new(fcinfo) };
            let readable = Subscription::new(None)?;
            let is_shown = |table: &TableCounts| readable.table(table.id).is_some_and(|table| !table.has_hidden_rows);
            for seen in view::tables().into_iter().filter(is_shown) {
                rows.push([seen.id.0.into_datum(), bigint(seen.changes), bigint(seen.flushes)]);
            }
            Ok(rows.end())
        })
    }
}
