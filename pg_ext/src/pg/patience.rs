//! How long a statement waits for what others have locked.

use super::failure::Failure;
use pgrx::pg_sys;

/// What a statement runs into that has waited so long.
pub(crate) const LOCK_NOT_AVAILABLE: &[u8; 5] = b"55P03";

/// For how many milliseconds to wait where the wait may be for somebody who waits for us: less than it takes until that counts as a
/// deadlock. `None` where the caller has said himself how long his statements wait.
pub(crate) fn short() -> Option<i32> {
    // SAFETY: plain variables of the backend.
    unsafe { (pg_sys::LockTimeout == 0).then(|| (pg_sys::DeadlockTimeout / 2).max(1)) }
}

/// Does work whose statements wait for no lock longer than so many milliseconds, in a subtransaction, which takes the setting along if it
/// is undone.
///
/// # Errors
/// Those of the work.
pub(crate) fn wait_at_most<T>(millis: Option<i32>, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let Some(millis) = millis else { return work() };
    let value = format!("{millis}\0");
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
