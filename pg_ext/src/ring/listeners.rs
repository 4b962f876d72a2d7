//! Those who wait for changes: their places in shared memory, and their latches. How they are woken says `cache_sync_ring`; a
//! backend that ends inside of Postgres leaves by `before_shmem_exit`.

use super::{Shared, listeners, shared, stats};
use crate::pg::settings::LISTENERS_MAX;
use cache_sync_core::wire::Body;
use cache_sync_ring as bell;
use pgrx::{pg_guard, pg_sys};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64};

const WORDS: usize = LISTENERS_MAX as usize / u64::BITS as usize;

/// One listener's place; free while `pid` is 0.
#[repr(C, align(64))]
struct Slot {
    pid: AtomicI32,
    database: AtomicU32,
    position: AtomicU64,
    latch: AtomicPtr<pg_sys::Latch>,
    delivered: AtomicU64,
    gaps: AtomicU64,
    /// All of the above is this listener's, so that others may look at it.
    is_shown: AtomicBool,
}

/// What listeners and committers share; zeroed memory is a valid value without listeners.
#[repr(C)]
pub(super) struct Listeners {
    max: u32,
    count: AtomicU32,
    armed: [AtomicU64; WORDS],
    slots: [Slot; LISTENERS_MAX as usize],
}

/// What one can see of a listener.
pub(crate) struct Seen {
    /// The backend.
    pub(crate) pid: i32,
    /// Its database.
    pub(crate) database: pg_sys::Oid,
    /// Up to where it has read.
    pub(crate) position: u64,
    /// Whether it waits to be woken.
    pub(crate) armed: bool,
    /// Changes that it has put into messages.
    pub(crate) delivered: u64,
    /// How often it had to say that something was missed.
    pub(crate) gaps: u64,
}

impl Listeners {
    /// Sets how many there may be; before anybody joins.
    pub(super) fn set_max(&mut self, max: u32) {
        self.max = max.min(LISTENERS_MAX as u32);
    }

    /// A bit for each that waits to be woken.
    pub(super) fn armed(&self) -> &[AtomicU64] {
        &self.armed[..(self.max as usize).div_ceil(u64::BITS as usize)]
    }

    /// Up to where a listener has read.
    pub(super) fn position(&self, listener: usize) -> &AtomicU64 {
        &self.slots[listener].position
    }

    /// Ends a listener's wait.
    pub(super) fn set_latch(&self, listener: usize) {
        unsafe extern "C-unwind" {
            // Without pgrx's guard: it only sets a flag and sends a signal.
            fn SetLatch(latch: *mut pg_sys::Latch);
        }
        // SAFETY: a slot's latch is that of a PGPROC, which lies in shared memory as long as the server runs;
        // if its backend is gone, at worst its successor wakes up for nothing.
        unsafe { SetLatch(self.slots[listener].latch.load(Acquire)) };
    }
}

/// Hands on the wake-up that the listener may have been given, and frees its place: whoever takes it may arm at once.
fn leave(shared: &Shared, index: usize) {
    bell::leave(shared, index);
    let listeners = &shared.listeners.0;
    listeners.slots[index].is_shown.store(false, Release);
    listeners.slots[index].pid.store(0, Release);
    listeners.count.fetch_sub(1, Relaxed);
}

/// How many listeners there are.
pub(crate) fn count() -> u32 {
    listeners().map_or(0, |listeners| listeners.count.load(Relaxed))
}

/// What one can see of all listeners.
pub(crate) fn all() -> Vec<Seen> {
    let Some(shared) = shared() else { return Vec::new() };
    let listeners = &shared.listeners.0;
    let slots = listeners.slots[..listeners.max as usize].iter().enumerate();
    slots
        .filter_map(|(index, slot)| {
            let (is_shown, pid) = (slot.is_shown.load(Acquire), slot.pid.load(Acquire));
            (is_shown && pid != 0).then(|| Seen {
                pid,
                database: pg_sys::Oid::from(slot.database.load(Relaxed)),
                position: slot.position.load(Relaxed),
                armed: bell::is_armed(shared, index),
                delivered: slot.delivered.load(Relaxed),
                gaps: slot.gaps.load(Relaxed),
            })
        })
        .collect()
}

/// This backend's place among the listeners; leaves it when dropped.
pub(crate) struct Listener {
    shared: &'static Shared,
    index: usize,
}

/// The place that this backend has not left yet, for [`leave_at_exit`]; -1 for none.
static MINE: AtomicI32 = AtomicI32::new(-1);
static LEAVES_AT_EXIT: AtomicBool = AtomicBool::new(false);

impl Listener {
    /// Takes a place; `None` when all are taken or there is no ring.
    pub(crate) fn join(position: u64) -> Option<Listener> {
        let shared = shared()?;
        let listeners = &shared.listeners.0;
        if !LEAVES_AT_EXIT.swap(true, Relaxed) {
            // SAFETY: a backend may register exit callbacks at any time; this one is registered once.
            unsafe { pg_sys::before_shmem_exit(Some(leave_at_exit), pg_sys::Datum::from(0)) };
        }
        // SAFETY: plain reads of variables that a running backend has set.
        let (pid, database, latch) = unsafe { (pg_sys::MyProcPid, pg_sys::MyDatabaseId, pg_sys::MyLatch) };
        let index = listeners.slots[..listeners.max as usize]
            .iter()
            .position(|slot| slot.pid.compare_exchange(0, pid, AcqRel, Relaxed).is_ok())?;
        MINE.store(index as i32, Relaxed);
        let slot = &listeners.slots[index];
        slot.database.store(database.to_u32(), Relaxed);
        slot.position.store(position, Relaxed);
        slot.delivered.store(0, Relaxed);
        slot.gaps.store(0, Relaxed);
        slot.latch.store(latch, Release);
        slot.is_shown.store(true, Release);
        listeners.count.fetch_add(1, Relaxed);
        Some(Listener { shared, index })
    }

    /// Shows others up to where this listener has read.
    pub(crate) fn tell_position(&self, position: u64) {
        self.shared.listeners.0.slots[self.index].position.store(position, Relaxed);
    }

    /// Counts that something was missed.
    pub(crate) fn count_gap(&self) {
        self.shared.listeners.0.slots[self.index].gaps.fetch_add(1, Relaxed);
        stats::count_gap();
    }

    /// Counts what this listener has put into a message.
    pub(crate) fn count(&self, body: &Body) {
        let slot = &self.shared.listeners.0.slots[self.index];
        match body {
            Body::Changes(changes) => {
                slot.delivered.fetch_add(changes.len() as u64, Relaxed);
                stats::count_delivered(changes.len());
            }
            Body::Gap => self.count_gap(),
            Body::Start { .. } | Body::Heartbeat => {}
        }
    }

    /// Asks to be woken by the next change after `position`. `false` when there is one already; then it is not armed.
    ///
    /// The caller resets its latch before, waits for it after, and then calls [`Listener::woken`] before all else.
    pub(crate) fn arm(&self, position: u64) -> bool {
        bell::arm(self.shared, self.index, position)
    }

    /// Ends the wait: if somebody handed this listener a wake-up, hands it on.
    pub(crate) fn woken(&self) {
        bell::woken(self.shared, self.index);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if MINE.swap(-1, Relaxed) >= 0 {
            leave(self.shared, self.index);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn leave_at_exit(_code: i32, _arg: pg_sys::Datum) {
    if let (Ok(index), Some(shared)) = (usize::try_from(MINE.swap(-1, Relaxed)), shared()) {
        leave(shared, index);
    }
}
