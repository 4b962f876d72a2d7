//! The epoch that SQL and the feed show: the ring's own, mixed with the number of the database's hash key, so that
//! creating the extension anew is a new epoch too. Without a ring a number of the server and its start stands for it.

use crate::call::function::sql_functions;
use crate::ring;
use crate::tables::catalog::Locked;
use crate::tables::known;
use cache_sync_core::number::Epoch;
use pgrx::pg_sys;

/// The epoch.
pub(crate) fn current() -> i64 {
    of(known::secret(Locked::Wait).map_or(0, |secret| secret.id)).0 as i64
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
}
