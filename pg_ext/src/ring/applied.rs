//! What this backend's transaction has applied, counted once it is committed: its own callback, which only backends have that
//! apply patches, adds numbers to numbers and takes no lock.

use super::failing::SessionId;
use super::memory::shared;
use super::stats::{Applied, Name};
use super::wall;
use crate::pg::backend::OfBackend;
use cache_sync_core::outcome::Record;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// Most tables of a transaction that are counted.
const TABLES_MAX: usize = 256;

static PENDING: OfBackend<RefCell<Vec<Applied>>> = OfBackend::new(RefCell::new(Vec::new()));
static IS_REGISTERED: OfBackend<Cell<bool>> = OfBackend::new(Cell::new(false));

/// Notes patches that came by themselves.
pub(crate) fn patch(table: Name, record: &Record) {
    with(table, |applied| applied.add(std::slice::from_ref(record)));
}

/// Notes a batch of a session, and how long it took.
pub(crate) fn batch(table: Name, session: SessionId, records: &[Record], took: Duration) {
    with(table, |applied| {
        applied.add(records);
        applied.add_batch(took);
    });
    if let Some(shared) = shared() {
        shared.failing.0.succeeded(table, session);
    }
}

/// Notes that a batch of a session failed.
pub(crate) fn failed(table: Name, session: SessionId, sqlstate: [u8; 5], message: &str) {
    let Some(shared) = shared() else { return };
    let now = wall::now_micros();
    shared.stats.0.count_failure(table, sqlstate, now);
    shared.failing.0.failed(table, session, sqlstate, message, now);
}

fn with(name: Name, note: impl FnOnce(&mut Applied)) {
    if shared().is_none() {
        return;
    }
    if !IS_REGISTERED.replace(true) {
        // SAFETY: a backend may register callbacks at any time; this one is registered once.
        unsafe { pg_sys::RegisterXactCallback(Some(transaction_event), std::ptr::null_mut()) };
    }
    let mut pending = PENDING.borrow_mut();
    let place = pending.iter().position(|applied| applied.name == name).unwrap_or_else(|| {
        if pending.len() < TABLES_MAX {
            pending.push(Applied::none(name));
        }
        pending.len() - 1
    });
    if pending[place].name == name {
        note(&mut pending[place]);
    }
}

/// At `COMMIT` it may neither fail nor allocate, as the one of `commit::pending`.
unsafe extern "C-unwind" fn transaction_event(event: pg_sys::XactEvent::Type, _arg: *mut std::ffi::c_void) {
    let Ok(mut pending) = PENDING.try_borrow_mut() else { return };
    if pending.is_empty() {
        return;
    }
    if event == pg_sys::XactEvent::XACT_EVENT_COMMIT
        && let Some(shared) = shared()
    {
        pending.iter().for_each(|applied| shared.stats.0.count_applied(applied));
    }
    if matches!(
        event,
        pg_sys::XactEvent::XACT_EVENT_COMMIT
            | pg_sys::XactEvent::XACT_EVENT_ABORT
            | pg_sys::XactEvent::XACT_EVENT_PREPARE
    ) {
        pending.clear();
    }
}
