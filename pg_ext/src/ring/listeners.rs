//! Those who wait for changes: their seats in shared memory, and their latches. How they are woken says `cache_sync_ring`.

use crate::pg::settings::LISTENERS_MAX;
use cache_sync_core::number::HostTime;
use pgrx::pg_sys;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64};

const WORDS: usize = LISTENERS_MAX as usize / u64::BITS as usize;

/// One listener's seat; free while `pid` is 0.
#[repr(C, align(64))]
struct Seat {
    pid: AtomicI32,
    database: AtomicU32,
    position: AtomicU64,
    latch: AtomicPtr<pg_sys::Latch>,
    delivered: AtomicU64,
    gaps: AtomicU64,
    /// As of when its client has been told everything, on the clock of the server's host; 0 while what it missed is being told.
    as_of: AtomicI64,
    /// All of the above is this listener's, so that others may look at it.
    is_shown: AtomicBool,
}

/// What listeners and committers share; zeroed memory is a valid value without listeners.
#[repr(C)]
pub(super) struct Listeners {
    max: u32,
    count: AtomicU32,
    armed: [AtomicU64; WORDS],
    seats: [Seat; LISTENERS_MAX as usize],
}

/// What one can see of a listener.
pub(crate) struct ListenerState {
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
    /// As of when its client has been told everything; none while what it missed is being told.
    pub(crate) as_of: Option<HostTime>,
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
        &self.seats[listener].position
    }

    /// Ends a listener's wait.
    pub(super) fn set_latch(&self, listener: usize) {
        unsafe extern "C-unwind" {
            // Without pgrx's guard: it only sets a flag and sends a signal.
            fn SetLatch(latch: *mut pg_sys::Latch);
        }
        // SAFETY: a seat's latch is that of a PGPROC, which lies in shared memory as long as the server runs;
        // if its backend is gone, at worst its successor wakes up for nothing.
        unsafe { SetLatch(self.seats[listener].latch.load(Acquire)) };
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// Takes a free seat for a backend; `None` when all are taken.
    pub(super) fn take_seat(&self, pid: i32) -> Option<usize> {
        self.used().iter().position(|seat| seat.pid.compare_exchange(0, pid, AcqRel, Relaxed).is_ok())
    }

    /// Shows who sits on a seat that was just taken.
    pub(super) fn show(&self, listener: usize, database: pg_sys::Oid, latch: *mut pg_sys::Latch, position: u64) {
        let seat = &self.seats[listener];
        seat.database.store(database.to_u32(), Relaxed);
        seat.position.store(position, Relaxed);
        seat.delivered.store(0, Relaxed);
        seat.gaps.store(0, Relaxed);
        seat.as_of.store(0, Relaxed);
        seat.latch.store(latch, Release);
        seat.is_shown.store(true, Release);
        self.count.fetch_add(1, Relaxed);
    }

    /// Frees a seat: whoever takes it may arm at once.
    pub(super) fn free_seat(&self, listener: usize) {
        self.seats[listener].is_shown.store(false, Release);
        self.seats[listener].pid.store(0, Release);
        self.count.fetch_sub(1, Relaxed);
    }

    /// Counts changes that the listener has put into a message.
    pub(super) fn count_delivered(&self, listener: usize, changes: usize) {
        self.seats[listener].delivered.fetch_add(changes as u64, Relaxed);
    }

    /// Notes as of when the listener's client has been told everything.
    pub(super) fn tell_as_of(&self, listener: usize, as_of: HostTime) {
        self.seats[listener].as_of.store(as_of.0, Relaxed);
    }

    /// Counts that the listener had to say that something was missed.
    pub(super) fn count_gap(&self, listener: usize) {
        self.seats[listener].gaps.fetch_add(1, Relaxed);
    }

    /// What one can see of all.
    pub(super) fn states(&self, is_armed: impl Fn(usize) -> bool) -> Vec<ListenerState> {
        let state = |(index, seat): (usize, &Seat)| {
            let (is_shown, pid) = (seat.is_shown.load(Acquire), seat.pid.load(Acquire));
            (is_shown && pid != 0).then(|| ListenerState {
                pid,
                database: pg_sys::Oid::from(seat.database.load(Relaxed)),
                position: seat.position.load(Relaxed),
                armed: is_armed(index),
                delivered: seat.delivered.load(Relaxed),
                gaps: seat.gaps.load(Relaxed),
                as_of: Some(HostTime(seat.as_of.load(Relaxed))).filter(|as_of| as_of.0 != 0),
            })
        };
        self.used().iter().enumerate().filter_map(state).collect()
    }

    fn used(&self) -> &[Seat] {
        &self.seats[..self.max as usize]
    }
}
