//! The ring: the last changes of the whole server, in shared memory. Its protocol is that of `cache_sync_ring`, on one LWLock
//! and the backends' latches; a reader copies at most [`READ_MAX`] entries while it holds the lock.
//!
//! ```text
//! memory    where it lies, and who makes it      commits   what every committer writes
//! listeners who waits for changes                stats     what is counted
//! ```
//! Nothing here is written to disk. Postgres makes shared memory anew after every crash, and with it the epoch, so a
//! lost change always shows as a new epoch.

mod commits;
pub(crate) mod hlc;
pub(crate) mod listeners;
mod memory;
pub(crate) mod stats;

use cache_sync_core::number::{KeyHash, TableId, Version};
use cache_sync_core::wire::{Change, ChangeKind};
pub(crate) use cache_sync_ring::Read;
use cache_sync_ring::{Memory, publish as publish_in, publish_gap as publish_gap_in, read as read_from};
use listeners::Listeners;
use memory::{Shared, first_entry, shared};
pub(crate) use memory::{ensure, install_hooks, is_preloaded};
use pgrx::pg_sys;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{AtomicI64, AtomicU64, fence};

/// Most changes that a reader copies while it holds the lock.
pub(crate) const READ_MAX: usize = 256;

/// The epoch travels through JSON, which carries 53 bits exactly.
pub(crate) const EPOCH_BITS: u32 = 53;

/// One change, as the ring holds it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entry {
    /// The database.
    pub(crate) database: pg_sys::Oid,
    /// The change.
    pub(crate) table: TableId,
    /// The key's hash, 0 for a whole table.
    pub(crate) key: KeyHash,
    /// The row's version or 0.
    pub(crate) version: Version,
    /// What it does.
    pub(crate) kind: ChangeKind,
}

impl Entry {
    /// An entry of no meaning, to fill arrays with. All zeroes, so that such arrays take no room in the library.
    pub(crate) const NONE: Entry = Entry {
        database: pg_sys::InvalidOid,
        table: TableId(0),
        key: KeyHash(0),
        version: Version::NONE,
        kind: ChangeKind::Versioned,
    };

    /// The change as the feed tells it.
    pub(crate) fn change(&self) -> Change {
        Change { table: self.table, key: self.key, version: self.version, kind: self.kind }
    }
}

// Postgres' functions without pgrx's guard, for the commit callback: none of them raises an error there.
unsafe extern "C-unwind" {
    fn LWLockAcquire(lock: *mut pg_sys::LWLock, mode: pg_sys::LWLockMode::Type) -> bool;
    fn LWLockRelease(lock: *mut pg_sys::LWLock);
}

/// Whether this process has a ring: always where the library was preloaded, and from PostgreSQL 17 on once it has called [`ensure`].
#[inline]
pub(crate) fn is_there() -> bool {
    shared().is_some()
}

/// The clock that all backends share.
pub(crate) fn clock() -> Option<&'static AtomicI64> {
    shared().map(|shared| &shared.clock.0)
}

/// The random number of this memory; below 2^53.
pub(crate) fn epoch() -> Option<u64> {
    shared().map(|shared| shared.epoch)
}

/// How many changes the ring has taken; 0 without a ring.
pub(crate) fn head() -> u64 {
    shared().map_or(0, |shared| shared.commits.0.head.load(Acquire))
}

/// The first position that the ring still holds.
pub(crate) fn tail() -> u64 {
    shared().map_or(0, |shared| shared.commits.0.head.load(Acquire).saturating_sub(shared.size))
}

/// How many changes the ring holds; 0 without a ring.
pub(crate) fn size() -> u64 {
    shared().map_or(0, |shared| shared.size)
}

/// Those who wait for changes.
fn listeners() -> Option<&'static Listeners> {
    shared().map(|shared| &shared.listeners.0)
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

impl Memory for Shared {
    type Word = AtomicU64;
    type Entry = Entry;

    fn head(&self) -> &AtomicU64 {
        &self.commits.0.head
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
        self.locked(pg_sys::LWLockMode::LW_EXCLUSIVE, || {
            self.commits.0.note_commit();
            body()
        })
    }

    fn shared<T>(&self, body: impl FnOnce() -> T) -> T {
        self.locked(pg_sys::LWLockMode::LW_SHARED, body)
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

impl Shared {
    fn locked<T>(&self, mode: pg_sys::LWLockMode::Type, body: impl FnOnce() -> T) -> T {
        let lock = self.commits.0.lock.get();
        // SAFETY: the lock was initialized with the memory. LWLockAcquire fails only when the backend holds 200 locks; between
        // acquire and release nothing can fail, for the bodies copy memory.
        unsafe {
            LWLockAcquire(lock, mode);
            let result = body();
            LWLockRelease(lock);
            result
        }
    }
}
