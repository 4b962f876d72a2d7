//! What every committer writes, whatever it commits: one cache line, which moves from processor to processor. All of it but the
//! lock is written by who holds the lock alone.

use pgrx::pg_sys;
use std::cell::UnsafeCell;
use std::mem::size_of;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

#[repr(C)]
pub(super) struct Commits {
    pub(super) lock: UnsafeCell<pg_sys::LWLock>,
    pub(super) head: AtomicU64,
    /// How many changes were published.
    pub(super) changes: AtomicU64,
    /// Where in the log the last of the commits ends that were published.
    pub(super) lsn: AtomicU64,
}

const _: () = assert!(size_of::<Commits>() <= 64);

impl Commits {
    /// Notes where in the log this backend's commit ends, before its changes are published.
    pub(super) fn note_commit(&self) {
        // SAFETY: a plain read of what Postgres noted of this backend's last commit.
        let end = unsafe { pg_sys::XactLastCommitEnd };
        if end > self.lsn.load(Relaxed) {
            self.lsn.store(end, Release);
        }
    }

    /// Counts changes that are being published.
    pub(super) fn count(&self, changes: usize) {
        self.changes.store(self.changes.load(Relaxed) + changes as u64, Relaxed);
    }
}
