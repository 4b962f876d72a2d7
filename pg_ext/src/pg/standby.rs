//! Whether the server is a standby, which has no feed, since nobody publishes what it replays; and where its log ends.

use super::failure::Failure;
use cache_sync_core::number::Lsn;
use pgrx::pg_sys;

/// The longest header of a page of the log.
const PAGE_HEADER_MAX: u64 = 40;

/// Whether the server replays another one's log.
pub(crate) fn is_standby() -> bool {
    // SAFETY: a read of the server's state.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Refuses what only the primary can do.
///
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
