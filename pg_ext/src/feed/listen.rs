//! What a client asks that hears by NOTIFY, on a server without a ring.

use super::subscription::{self, Subscription};
use crate::call::argument::argument;
use crate::call::function::sql_functions;
use crate::call::rows::Rows;
use crate::pg::sqlstate;
use crate::pg::standby::refuse_standby;
use crate::ring::hlc;
use crate::server::epoch;
use pgrx::IntoDatum;

sql_functions! {
    /// `listen_state(table_ids integer[]) -> (epoch bigint, hlc bigint)`: what a client asks that hears by NOTIFY; the answer
    /// comes behind all notifications of what was committed before.
    fn listen_state / pg_finfo_listen_state(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: Postgres calls this function with a call it has filled in, with this argument and for these rows.
            let (tables, mut rows) = unsafe { (subscription::table_ids(argument(fcinfo, 0))?, Rows::new(fcinfo)) };
            refuse_standby()?;
            Subscription::new(tables)?;
            rows.push([epoch::current().into_datum(), hlc::now().into_datum()]);
            Ok(rows.end())
        })
    }
}
