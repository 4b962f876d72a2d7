//! Which sessions' batches failed last: what operators look for when a table is not written.
//!
//! Only what fails comes here, and what succeeds while something does.

use super::lock::Lock;
use super::stats::Name;
use cache_sync_core::number::TableId;
use pgrx::pg_sys;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Most sessions that are remembered, of the whole server; one more takes the place of the one that failed longest ago, those that are
/// stuck last.
const SLOTS: usize = 128;
/// Most bytes of a message that are kept.
const MESSAGE_MAX: usize = 240;

/// What names a session: the table as it is counted, and the uuid.
pub(crate) type SessionId = [u8; 16];

#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    /// What the table is counted as.
    table: Name,
    session: SessionId,
    /// How many tries failed in a row; 0 once one was applied.
    failures: u64,
    since: i64,
    last: i64,
    sqlstate: [u8; 5],
    length: u8,
    message: [u8; MESSAGE_MAX],
}

/// Those that failed last; zeroed memory is a valid value, but for the lock.
#[repr(C)]
pub(super) struct Failing {
    lock: Lock,
    /// How many of them are stuck.
    stuck: AtomicU32,
    slots: UnsafeCell<[Slot; SLOTS]>,
}

/// A session whose last tries failed, or whose last failure is remembered.
#[derive(Clone)]
pub(crate) struct FailedSession {
    /// The table's number.
    pub(crate) id: TableId,
    /// The session.
    pub(crate) session: SessionId,
    /// How many tries failed in a row; 0 once one was applied.
    pub(crate) failures: u64,
    /// When the first of these failed, in microseconds since 1970.
    pub(crate) since: i64,
    /// When the last one failed.
    pub(crate) last: i64,
    /// Why.
    pub(crate) sqlstate: [u8; 5],
    /// Why, in words.
    pub(crate) message: String,
}

impl Failing {
    /// Makes the lock one of this kind, before anybody takes it.
    pub(super) fn initialize_lock(&self, tranche: i32) {
        self.lock.initialize(tranche);
    }

    /// Notes that a batch failed.
    pub(super) fn failed(&self, table: Name, session: SessionId, sqlstate: [u8; 5], message: &str, now: i64) {
        let message = &message.as_bytes()[..message.floor_char_boundary(MESSAGE_MAX)];
        self.change(|slots| {
            let place = find(slots, table, session).or_else(|| longest_ago(slots));
            let Some(slot) = place.map(|place| &mut slots[place]) else { return };
            if (slot.table, slot.session) != (table, session) {
                slot.failures = 0;
            }
            (slot.table, slot.session) = (table, session);
            if slot.failures == 0 {
                slot.since = now;
            }
            slot.failures += 1;
            slot.last = now;
            slot.sqlstate = sqlstate;
            slot.length = message.len() as u8;
            slot.message[..message.len()].copy_from_slice(message);
        });
    }

    /// Notes that a batch was applied.
    pub(super) fn succeeded(&self, table: Name, session: SessionId) {
        if self.stuck.load(Relaxed) > 0 {
            self.change(|slots| {
                if let Some(place) = find(slots, table, session) {
                    slots[place].failures = 0;
                }
            });
        }
    }

    fn change(&self, change: impl FnOnce(&mut [Slot; SLOTS])) {
        self.lock.locked(pg_sys::LWLockMode::LW_EXCLUSIVE, || {
            // SAFETY: the lock makes us their only user.
            let slots = unsafe { &mut *self.slots.get() };
            change(slots);
            self.stuck.store(slots.iter().filter(|slot| slot.failures > 0).count() as u32, Relaxed);
        });
    }

    /// Those of a database.
    pub(super) fn of_database(&self, database: pg_sys::Oid, incarnation: u32) -> Vec<FailedSession> {
        let mut copy = Vec::with_capacity(SLOTS);
        self.lock.locked(pg_sys::LWLockMode::LW_SHARED, || {
            // SAFETY: nobody changes them while we hold the lock; there is room for the copies.
            copy.extend_from_slice(unsafe { &*self.slots.get() });
        });
        copy.iter().filter(|slot| slot.table.is_of(database, incarnation)).map(Slot::seen).collect()
    }
}

impl Slot {
    fn seen(&self) -> FailedSession {
        FailedSession {
            id: self.table.id(),
            session: self.session,
            failures: self.failures,
            since: self.since,
            last: self.last,
            sqlstate: self.sqlstate,
            message: String::from_utf8_lossy(&self.message[..usize::from(self.length)]).into_owned(),
        }
    }
}

fn find(slots: &[Slot], table: Name, session: SessionId) -> Option<usize> {
    slots.iter().position(|slot| slot.table.is_number_of(table) && slot.session == session)
}

/// A free place, or the one to give up.
fn longest_ago(slots: &[Slot]) -> Option<usize> {
    (0..slots.len())
        .min_by_key(|place| (!slots[*place].table.is_none(), slots[*place].failures > 0, slots[*place].last))
}
