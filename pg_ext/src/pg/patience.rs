//! How long a statement waits for what others have locked, and who is let go first.

use super::failure::Failure;
use pgrx::pg_sys;
use std::time::Duration;

/// What a statement runs into that has waited so long.
pub(crate) const LOCK_NOT_AVAILABLE: &[u8; 5] = b"55P03";

/// How many milliseconds a statement waits where the wait may be for somebody who waits for us. Whoever waits calls that a deadlock when
/// he has waited for `deadlock_timeout`.
#[derive(Clone, Copy)]
pub(crate) struct Short {
    millis: i32,
}

impl Short {
    /// `None` where the caller has said himself how long his statements wait.
    pub(crate) fn of_settings() -> Option<Short> {
        // SAFETY: plain variables of the backend.
        unsafe { (pg_sys::LockTimeout == 0).then(|| Short { millis: (pg_sys::DeadlockTimeout / 2).max(1) }) }
    }

    /// For each of so many rows of one statement, from now on: who begins to wait for us only now does so for longer than half of it; who waits
    /// already may look at any moment.
    fn millis(self, rows: usize) -> i32 {
        /// Of more rows hardly all are waited for; and a table that grows is locked for some milliseconds.
        const SHARES_MAX: usize = 50;
        if is_waited_for() { 1 } else { (self.millis / rows.clamp(1, SHARES_MAX) as i32).max(1) }
    }
}

/// Whether anybody waits until this transaction, or the part of it that is under way, ends.
fn is_waited_for() -> bool {
    // SAFETY: a backend knows the parents of what it has begun itself. Their locks are held until they end; whoever waited for a part that has
    // ended well waits for the whole by now.
    unsafe {
        let under_way = pg_sys::GetCurrentTransactionIdIfAny();
        let parents = std::iter::successors(Some(under_way).filter(is_some), |xid| {
            Some(pg_sys::SubTransGetParent(*xid)).filter(is_some)
        });
        parents.chain(Some(pg_sys::GetTopTransactionIdIfAny()).filter(is_some)).any(|xid| has_waiters(xid))
    }
}

fn is_some(xid: &pg_sys::TransactionId) -> bool {
    *xid != pg_sys::InvalidTransactionId
}

/// # Safety
/// The transaction is one of this backend's, and has not ended: so it holds the lock on its number.
unsafe fn has_waiters(xid: pg_sys::TransactionId) -> bool {
    let tag = pg_sys::LOCKTAG {
        locktag_field1: xid.into_inner(),
        locktag_field2: 0,
        locktag_field3: 0,
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_TRANSACTION as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    // SAFETY: the lock is held in this mode until the transaction ends.
    unsafe { pg_sys::LockHasWaiters(&tag, pg_sys::ExclusiveLock as pg_sys::LOCKMODE, false) }
}

/// Lets those go on who waited for what has just been undone: whoever locks it again at once is there before they have woken up. The more
/// often that was in vain, the longer.
pub(crate) fn make_way(often: usize) {
    const FIRST: Duration = Duration::from_millis(5);
    const DOUBLED_MAX: usize = 5;
    sleep(FIRST * (1 << often.min(DOUBLED_MAX)), pg_sys::PG_WAIT_EXTENSION);
}

/// Waits for so long, or until something interrupts; `event` is what is shown of it.
pub(crate) fn sleep(time: Duration, event: u32) {
    // SAFETY: the latch is this process' own; a backend may handle interrupts wherever it holds no lock of the server's own.
    unsafe {
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, time.as_millis().max(1) as i64, event);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// Does work on so many rows in one statement, which waits no longer than that for all of them, in a subtransaction, which takes the setting
/// along if it is undone.
///
/// # Errors
/// Those of the work.
pub(crate) fn wait_at_most<T>(
    wait: Option<Short>,
    rows: usize,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(wait) = wait else { return work() };
    let value = format!("{}\0", wait.millis(rows));
    // SAFETY: the name and the value end with a zero byte; the setting is one that users may set.
    let level = unsafe {
        let level = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"lock_timeout".as_ptr(),
            value.as_ptr().cast(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        level
    };
    let done = work();
    // SAFETY: the level is the one begun above; an error that was raised has undone it with the subtransaction.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    done
}
