//! What every committer writes, whatever it commits: one cache line, which moves from processor to processor. All of it but the
//! lock is written by who holds the lock alone.

use super::lock::Lock;
use cache_sync_core::number::Lsn;
use pgrx::pg_sys;
use std::mem::size_of;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Zeroed memory is a valid value, but for the lock.
#[repr(C)]
pub(super) struct Commits {
    lock: Lock,
    head: AtomicU64,
    /// How many changes were published.
    changes: AtomicU64,
    /// Where in the log the last of the commits ends that were published.
    lsn: AtomicU64,
}

const _: () = assert!(size_of::<Commits>() <= 64);

impl Commits {
    /// Makes the lock one of this kind, before anybody takes it.
    pub(super) fn initialize_lock(&self, tranche: i32) {
        self.lock.initialize(tranche);
    }

    /// Runs `body` under the lock.
    pub(super) fn locked<T>(&self, mode: pg_sys::LWLockMode::Type, body: impl FnOnce() -> T) -> T {
        self.lock.locked(mode, body)
    }

    /// Counts all changes that were ever published, and what moves readers past them.
    pub(super) fn head(&self) -> &AtomicU64 {
        &self.head
    }

    /// How many changes were published.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Where in the log the last of the commits ends that were published.
    pub(super) fn lsn(&self) -> Lsn {
        Lsn(self.lsn.load(Acquire))
    }

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
