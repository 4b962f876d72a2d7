//! A listener's handle. A backend that ends inside of Postgres leaves by `before_shmem_exit`.

use super::layout::Shared;
use super::memory::shared;
use cache_sync_core::number::HostTime;
use cache_sync_core::wire::Body;
use cache_sync_ring as bell;
use pgrx::{pg_guard, pg_sys};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI32};

/// This backend's seat among the listeners; leaves it when dropped.
pub(crate) struct Listener {
    shared: &'static Shared,
    index: usize,
}

/// The seat that this backend has not left yet, for [`leave_at_exit`]; -1 for none.
static MINE: AtomicI32 = AtomicI32::new(-1);
static LEAVES_AT_EXIT: AtomicBool = AtomicBool::new(false);

impl Listener {
    /// Takes a seat; `None` when all are taken or there is no ring.
    pub(crate) fn join(position: u64) -> Option<Listener> {
        let shared = shared()?;
        let listeners = &shared.listeners.0;
        if !LEAVES_AT_EXIT.swap(true, Relaxed) {
            // SAFETY: a backend may register exit callbacks at any time; this one is registered once.
            unsafe { pg_sys::before_shmem_exit(Some(leave_at_exit), pg_sys::Datum::from(0)) };
        }
        // SAFETY: plain reads of variables that a running backend has set.
        let (pid, database, latch) = unsafe { (pg_sys::MyProcPid, pg_sys::MyDatabaseId, pg_sys::MyLatch) };
        let index = listeners.take_seat(pid)?;
        MINE.store(index as i32, Relaxed);
        listeners.show(index, database, latch, position);
        Some(Listener { shared, index })
    }

    /// Shows others up to where this listener has read, and as of when its client has been told everything.
    pub(crate) fn tell_position(&self, position: u64, as_of: Option<HostTime>) {
        self.shared.listeners.0.position(self.index).store(position, Relaxed);
        if let Some(as_of) = as_of {
            self.shared.listeners.0.tell_as_of(self.index, as_of);
        }
    }

    /// Counts that something was missed.
    pub(crate) fn count_gap(&self) {
        self.shared.listeners.0.count_gap(self.index);
        self.shared.stats.0.count_gap();
    }

    /// Counts what this listener has put into a message.
    pub(crate) fn count(&self, body: &Body) {
        match body {
            Body::Changes(changes) => {
                self.shared.listeners.0.count_delivered(self.index, changes.len());
                self.shared.stats.0.count_delivered(changes.len());
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

/// Hands on the wake-up that the listener may have been given, and frees its seat.
fn leave(shared: &Shared, index: usize) {
    bell::leave(shared, index);
    shared.listeners.0.free_seat(index);
}
