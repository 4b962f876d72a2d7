//! The keys that this transaction has changed, until it commits.
//!
//! They live in memory that is there from the start, because what runs at commit may not fail. A key is noted once, with
//! its largest version, and stays *unversioned* once the transaction inserted, deleted or moved its row: only of a row
//! that was nothing but updated does its version say whether an entry is older. Changes of a savepoint that was rolled
//! back stay, which drops too much and never too little.

mod keys;

use super::notify;
use crate::pg::backend::OfBackend;
use crate::ring::{self, Entry, hlc};
use cache_sync_core::number::{KeyHash, TableId, Version};
use cache_sync_core::wire::ChangeKind;
use keys::Keys;
use pgrx::{PgSqlErrorCode, pg_guard, pg_sys};
use std::cell::UnsafeCell;

/// What the transaction has changed so far.
static PENDING: OfBackend<UnsafeCell<Keys>> = OfBackend::new(UnsafeCell::new(Keys::EMPTY));

fn with<T>(use_them: impl FnOnce(&mut Keys) -> T) -> T {
    // SAFETY: no function here is entered while another one runs, since none of them calls anything that could; the
    // reference does not outlive the closure.
    unsafe { use_them(&mut *PENDING.get()) }
}

/// Whether the whole table counts as changed already, so that its keys need not be looked at.
#[inline]
pub(crate) fn is_flushed(table: TableId) -> bool {
    with(|keys| keys.is_flushed(table))
}

/// Notes the change of a key. `version` is the row's, as stored; `None` where it was null or there is no such column.
#[inline]
pub(crate) fn note(table: TableId, key: KeyHash, version: Option<i64>, kind: ChangeKind) {
    let (version, kind) = match version {
        Some(version) if version > 0 && hlc::plausible(version) => (Version(version), kind),
        _ => (Version::NONE, ChangeKind::Unversioned),
    };
    with(|keys| keys.note(table, key, version, kind));
}

/// Notes that a row that changed had or has this value of a tag.
#[inline]
pub(crate) fn note_tag(table: TableId, tag: KeyHash) {
    with(|keys| keys.note(table, tag, Version::NONE, ChangeKind::Tag));
}

/// Notes that the whole table changed.
pub(crate) fn flush(table: TableId) {
    with(|keys| keys.flush(table));
}

/// Registers the callback; to be called once, from `_PG_init`: a library is never unloaded.
pub(crate) fn register_callback() {
    // SAFETY: libraries may register callbacks while they load.
    unsafe { pg_sys::RegisterXactCallback(Some(transaction_event), std::ptr::null_mut()) };
}

/// Runs at the end of every transaction of this backend.
///
/// At `COMMIT` the transaction is visible to others already and can no longer fail: an error here would take the whole
/// server down. So what is called there copies memory, takes one lock and sets a latch, and nothing else.
unsafe extern "C-unwind" fn transaction_event(event: pg_sys::XactEvent::Type, _arg: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE) {
        hlc::end_of_transaction();
    }
    if with(|keys| keys.is_empty()) {
        return;
    }
    match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => {
            #[cfg(feature = "test_faults")]
            crate::pg::fault::at_commit(publish);
            #[cfg(not(feature = "test_faults"))]
            publish();
        }
        pg_sys::XactEvent::XACT_EVENT_ABORT => with(Keys::clear),
        // SAFETY: Postgres lets this event raise errors, and this frame holds nothing to drop.
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT if !ring::is_there() => unsafe { put_notifications() },
        // SAFETY: Postgres lets this event raise errors, and this frame holds nothing to drop.
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => unsafe { refuse_to_prepare() },
        _ => {}
    }
}

/// Publishes what the transaction has changed, and forgets it.
fn publish() {
    with(|keys| {
        match keys.changes() {
            Some(changes) => ring::publish(changes),
            None => ring::publish_gap(),
        }
        keys.clear();
    });
}

/// Without a ring there is nothing to do once the transaction is committed; NOTIFY wants to know before.
#[pg_guard]
unsafe extern "C-unwind" fn put_notifications() {
    // Elsewhere whoever notes a change has the ring, and those who listen to it hear nothing else.
    if cfg!(any(feature = "pg15", feature = "pg16")) {
        notify::put(with(|keys| keys.changes().map(<[Entry]>::to_vec)));
    } else {
        pgrx::error!("cache_sync noted a change without having its shared memory");
    }
}

/// A prepared transaction is committed by another backend, which knows nothing of its keys.
#[pg_guard]
unsafe extern "C-unwind" fn refuse_to_prepare() {
    pgrx::pg_sys::panic::ErrorReport::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot PREPARE a transaction that has changed tables attached to cache_sync",
        "refuse_to_prepare",
    )
    .set_hint("Commit it in one step, or detach the tables that two-phase transactions change.")
    .report(pgrx::PgLogLevel::ERROR);
}
