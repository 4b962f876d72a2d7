//! Those who wait for changes, and how they are woken.
//!
//! A committer wakes at most one listener, so what a commit costs does not depend on how many there are. A listener
//! *arms* itself (a bit in shared memory), and whoever clears the bit hands it a wake-up. A listener that was handed one
//! first hands two on, before it reads or sends anything; so every armed listener is reached, in a number of steps that
//! grows with the logarithm of their number. Three things keep a wake-up from getting lost:
//!
//! - a listener that leaves, for whatever reason, hands on as if it had been woken (`Drop`, and `before_shmem_exit` for
//!   backends that end inside of Postgres);
//! - a listener is armed only while it waits: not while it sends, sleeps or checks privileges;
//! - after arming it looks at the head again, and a change that it then finds is its own business.

use super::{Shared, head, listeners, shared};
use crate::settings::LISTENERS_MAX;
use pgrx::{pg_guard, pg_sys};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, fence};

const WORDS: usize = LISTENERS_MAX as usize / u64::BITS as usize;
/// How many a woken listener wakes.
const HANDED_ON: usize = 2;

/// One listener's place; free while `pid` is 0.
#[repr(C, align(64))]
struct Slot {
    pid: AtomicI32,
    database: AtomicU32,
    position: AtomicU64,
    latch: AtomicPtr<pg_sys::Latch>,
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
}

impl Listeners {
    /// Sets how many there may be; before anybody joins.
    pub(super) fn set_max(&mut self, max: u32) {
        self.max = max.min(LISTENERS_MAX as u32);
    }

    /// Wakes up to `count` armed listeners.
    pub(super) fn wake(&self, count: usize) {
        unsafe extern "C-unwind" {
            // Without pgrx's guard: it only sets a flag and sends a signal.
            fn SetLatch(latch: *mut pg_sys::Latch);
        }
        for _ in 0..count {
            let Some(slot) = self.disarm_one() else { return };
            // SAFETY: a slot's latch is that of a PGPROC, which lies in shared memory as long as the server runs;
            // if its backend is gone, at worst its successor wakes up for nothing.
            unsafe { SetLatch(slot.latch.load(Acquire)) };
        }
    }

    fn disarm_one(&self) -> Option<&Slot> {
        for (index, word) in self.armed[..(self.max as usize).div_ceil(u64::BITS as usize)].iter().enumerate() {
            loop {
                let bits = word.load(Relaxed);
                if bits == 0 {
                    break;
                }
                let bit = bits & bits.wrapping_neg();
                if word.fetch_and(!bit, SeqCst) & bit != 0 {
                    return Some(&self.slots[index * u64::BITS as usize + bit.trailing_zeros() as usize]);
                }
            }
        }
        None
    }

    fn armed_bit(&self, index: usize) -> (&AtomicU64, u64) {
        (&self.armed[index / u64::BITS as usize], 1 << (index % u64::BITS as usize))
    }

    /// Frees the place and hands on the wake-up that it may have been given.
    fn leave(&self, index: usize) {
        let (word, bit) = self.armed_bit(index);
        word.fetch_and(!bit, SeqCst);
        self.slots[index].pid.store(0, Release);
        self.count.fetch_sub(1, Relaxed);
        self.wake(HANDED_ON);
    }
}

/// How many listeners there are.
pub(crate) fn count() -> u32 {
    listeners().map_or(0, |listeners| listeners.count.load(Relaxed))
}

/// What one can see of all listeners.
pub(crate) fn all() -> Vec<Seen> {
    let Some(listeners) = listeners() else { return Vec::new() };
    let slots = listeners.slots[..listeners.max as usize].iter().enumerate();
    slots
        .filter_map(|(index, slot)| {
            let pid = slot.pid.load(Acquire);
            let (word, bit) = listeners.armed_bit(index);
            (pid != 0).then(|| Seen {
                pid,
                database: pg_sys::Oid::from(slot.database.load(Relaxed)),
                position: slot.position.load(Relaxed),
                armed: word.load(Relaxed) & bit != 0,
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
        slot.latch.store(latch, Release);
        listeners.count.fetch_add(1, Relaxed);
        Some(Listener { shared, index })
    }

    /// Shows others up to where this listener has read.
    pub(crate) fn tell_position(&self, position: u64) {
        self.shared.listeners.0.slots[self.index].position.store(position, Relaxed);
    }

    /// Asks to be woken by the next change after `position`. `false` when there is one already; then it is not armed.
    ///
    /// The caller resets its latch before, waits for it after, and then calls [`Listener::woken`] before all else.
    pub(crate) fn arm(&self, position: u64) -> bool {
        let (word, bit) = self.shared.listeners.0.armed_bit(self.index);
        word.fetch_or(bit, SeqCst);
        // Pairs with the fence in `ring::write`.
        fence(SeqCst);
        if head() == position {
            return true;
        }
        self.woken();
        false
    }

    /// Ends the wait: if somebody handed this listener a wake-up, hands it on.
    pub(crate) fn woken(&self) {
        let listeners = &self.shared.listeners.0;
        let (word, bit) = listeners.armed_bit(self.index);
        if word.fetch_and(!bit, SeqCst) & bit == 0 {
            listeners.wake(HANDED_ON);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if MINE.swap(-1, Relaxed) >= 0 {
            self.shared.listeners.0.leave(self.index);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn leave_at_exit(_code: i32, _arg: pg_sys::Datum) {
    if let (Ok(index), Some(listeners)) = (usize::try_from(MINE.swap(-1, Relaxed)), listeners()) {
        listeners.leave(index);
    }
}
