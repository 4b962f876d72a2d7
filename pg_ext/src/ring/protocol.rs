//! Publishing and reading: the protocol of `cache_sync_ring` on Postgres' lock and latches.

use super::entry::Entry;
use super::layout::Shared;
use super::memory::{first_entry, shared};
use cache_sync_core::number::Lsn;
pub(crate) use cache_sync_ring::Read;
use cache_sync_ring::{Memory, publish as publish_in, publish_gap as publish_gap_in, read as read_from};
use pgrx::pg_sys;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

/// Most changes that a reader copies while it holds the lock.
pub(crate) const READ_MAX: usize = 256;

/// How many changes the ring has taken; 0 without a ring.
pub(crate) fn head() -> u64 {
    shared().map_or(0, |shared| shared.commits.0.head().load(Acquire))
}

/// The first position that the ring still holds.
pub(crate) fn tail() -> u64 {
    shared().map_or(0, |shared| shared.commits.0.head().load(Acquire).saturating_sub(shared.size))
}

/// How many changes the ring holds; 0 without a ring.
pub(crate) fn size() -> u64 {
    shared().map_or(0, |shared| shared.size)
}

/// Publishes changes and wakes one listener. Called from the commit callback: it neither allocates nor fails.
pub(crate) fn publish(entries: &[Entry]) {
    if let Some(shared) = shared() {
        shared.stats.0.count_published(entries);
        publish_in(shared, entries);
    }
}

/// Makes every reader find itself overrun: for a commit that changed more tables than can be told.
pub(crate) fn publish_gap() {
    if let Some(shared) = shared() {
        publish_gap_in(shared);
    }
}

/// Copies the changes from `position` on into `into`, at most [`READ_MAX`].
pub(crate) fn read(position: u64, into: &mut [Entry; READ_MAX]) -> Read {
    shared().map_or(Read::Lapped, |shared| read_from(shared, position, into))
}

/// Where in the log the last of the commits ends that were published.
pub(crate) fn last_lsn() -> Lsn {
    shared().map_or(Lsn(0), |shared| shared.commits.0.lsn())
}

impl Memory for Shared {
    type Word = AtomicU64;
    type Entry = Entry;

    fn head(&self) -> &AtomicU64 {
        self.commits.0.head()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn armed(&self) -> &[AtomicU64] {
        self.listeners.0.armed()
    }

    fn position(&self, listener: usize) -> &AtomicU64 {
        self.listeners.0.position(listener)
    }

    fn exclusive<T>(&self, body: impl FnOnce() -> T) -> T {
        // Only committers take it alone.
        self.commits.0.locked(pg_sys::LWLockMode::LW_EXCLUSIVE, || {
            self.commits.0.note_commit();
            body()
        })
    }

    fn shared<T>(&self, body: impl FnOnce() -> T) -> T {
        self.commits.0.locked(pg_sys::LWLockMode::LW_SHARED, body)
    }

    fn copy_in(&self, place: usize, entries: &[Entry]) {
        self.commits.0.count(entries.len());
        // SAFETY: they lie within the ring's `size` entries, and the lock makes us their only user.
        unsafe { first_entry().add(place).copy_from_nonoverlapping(entries.as_ptr(), entries.len()) };
    }

    fn copy_out(&self, place: usize, into: &mut [Entry]) {
        // SAFETY: they lie within the ring's `size` entries, which nobody writes while we hold the lock.
        unsafe { first_entry().add(place).copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) };
    }

    fn fence(&self) {
        fence(SeqCst);
    }

    fn set_latch(&self, listener: usize) {
        self.listeners.0.set_latch(listener);
    }
}
