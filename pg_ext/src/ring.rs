//! The ring: the last changes of the whole server, in shared memory. Its protocol is that of `cache_sync_ring`, on one LWLock
//! and the backends' latches; a reader copies at most [`READ_MAX`] entries while it holds the lock.
//!
//! Nothing here is written to disk. Postgres makes shared memory anew after every crash, and with it the epoch, so a
//! lost change always shows as a new epoch.

pub(crate) mod listeners;
pub(crate) mod stats;

use crate::settings;
use cache_sync_core::number::{KeyHash, TableId, Version};
use cache_sync_core::wire::{Change, ChangeKind};
pub(crate) use cache_sync_ring::Read;
use cache_sync_ring::{Memory, publish as publish_in, publish_gap as publish_gap_in, read as read_from};
use listeners::Listeners;
use pgrx::{pg_guard, pg_sys};
use stats::Stats;
use std::ffi::CStr;
use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU64, fence};

/// Most changes that a reader copies while it holds the lock.
pub(crate) const READ_MAX: usize = 256;

const NAME: &CStr = c"cache_sync";
/// Told apart from memory laid out by another build of the library; rises when the layout changes.
const ABI: u64 = 0x6361_6368_6573_0002;
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

/// Keeps what every committer writes apart from what others read.
#[repr(C, align(128))]
struct OwnCacheLine<T>(T);

/// What lies in shared memory; `size` entries follow it.
#[repr(C)]
struct Shared {
    abi: u64,
    size: u64,
    epoch: u64,
    clock: OwnCacheLine<AtomicI64>,
    head: OwnCacheLine<AtomicU64>,
    listeners: OwnCacheLine<Listeners>,
    stats: OwnCacheLine<Stats>,
}

/// The process-local pointers into shared memory, set before the first backend is forked.
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(null_mut());
static LOCK: AtomicPtr<pg_sys::LWLock> = AtomicPtr::new(null_mut());

// Postgres' functions without pgrx's guard, for the commit callback: none of them raises an error there.
unsafe extern "C-unwind" {
    fn LWLockAcquire(lock: *mut pg_sys::LWLock, mode: pg_sys::LWLockMode::Type) -> bool;
    fn LWLockRelease(lock: *mut pg_sys::LWLock);
}

/// Whether the library was preloaded, so that there is a ring.
pub(crate) fn is_preloaded() -> bool {
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
    shared().map_or(0, |shared| shared.head.0.load(Acquire))
}

/// The first position that the ring still holds.
pub(crate) fn tail() -> u64 {
    shared().map_or(0, |shared| shared.head.0.load(Acquire).saturating_sub(shared.size))
}

/// How many changes the ring holds; 0 without a ring.
pub(crate) fn size() -> u64 {
    shared().map_or(0, |shared| shared.size)
}

/// Those who wait for changes.
fn listeners() -> Option<&'static Listeners> {
    shared().map(|shared| &shared.listeners.0)
}

fn shared() -> Option<&'static Shared> {
    // SAFETY: either null or the start of the segment, which stays mapped as long as the process lives; what is not
    // atomic in it was written before the pointer was.
    unsafe { SHARED.load(Relaxed).as_ref() }
}

/// Publishes changes and wakes one listener. Called from the commit callback: it neither allocates nor fails.
pub(crate) fn publish(entries: &[Entry]) {
    if let Some(shared) = shared() {
        shared.stats.0.note_commit();
        shared.stats.0.count_published(entries);
        publish_in(shared, entries);
    }
}

/// Makes every reader find itself overrun: for a commit that changed more tables than can be told.
pub(crate) fn publish_gap() {
    if let Some(shared) = shared() {
        shared.stats.0.note_commit();
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
        &self.head.0
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
        locked(pg_sys::LWLockMode::LW_EXCLUSIVE, body)
    }

    fn shared<T>(&self, body: impl FnOnce() -> T) -> T {
        locked(pg_sys::LWLockMode::LW_SHARED, body)
    }

    fn copy_in(&self, place: usize, entries: &[Entry]) {
        // SAFETY: they lie within the ring's `size` entries, and the lock makes us their only user.
        unsafe { self.entries().add(place).copy_from_nonoverlapping(entries.as_ptr(), entries.len()) };
    }

    fn copy_out(&self, place: usize, into: &mut [Entry]) {
        // SAFETY: they lie within the ring's `size` entries, which nobody writes while we hold the lock.
        unsafe { self.entries().add(place).copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) };
    }

    fn fence(&self) {
        fence(SeqCst);
    }

    fn set_latch(&self, listener: usize) {
        self.listeners.0.set_latch(listener);
    }
}

fn locked<T>(mode: pg_sys::LWLockMode::Type, body: impl FnOnce() -> T) -> T {
    let lock = LOCK.load(Relaxed);
    // SAFETY: `lock` is our tranche's lock, set together with SHARED. LWLockAcquire fails only when the backend holds
    // 200 locks; between acquire and release nothing can fail, for the bodies copy memory.
    unsafe {
        LWLockAcquire(lock, mode);
        let result = body();
        LWLockRelease(lock);
        result
    }
}

impl Shared {
    fn entries(&self) -> *mut Entry {
        // SAFETY: `request_memory` asked for `size` entries after the header.
        unsafe { (&raw const *self).add(1).cast::<Entry>().cast_mut() }
    }
}

/// Chains the hooks that make shared memory; to be called from `_PG_init` while libraries are preloaded.
pub(crate) fn install_hooks() {
    // SAFETY: `_PG_init` runs once, in the postmaster, before any other thread or process of it.
    unsafe {
        PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(request_memory);
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(make_memory);
    }
}

static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

fn memory_size() -> usize {
    size_of::<Shared>() + settings::ring_size() as usize * size_of::<Entry>()
}

#[pg_guard]
unsafe extern "C-unwind" fn request_memory() {
    // SAFETY: Postgres calls this hook at the one time when shared memory and locks may be asked for.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            previous();
        }
        pg_sys::RequestAddinShmemSpace(memory_size());
        pg_sys::RequestNamedLWLockTranche(NAME.as_ptr(), 1);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn make_memory() {
    // The lock that Postgres documents for this hook.
    const ADDIN_SHMEM_INIT_LOCK: usize = 21;
    // SAFETY: Postgres calls this hook when shared memory is there, at start-up and after each crash. The memory asked
    // for is ours alone, aligned to a cache line at least, and not used by anybody before this hook returns.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        let init_lock = &raw mut (*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT_LOCK)).lock;
        pg_sys::LWLockAcquire(init_lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let mut found = false;
        let shared = pg_sys::ShmemInitStruct(NAME.as_ptr(), memory_size(), &mut found).cast::<Shared>();
        if !found {
            shared.cast::<u8>().write_bytes(0, size_of::<Shared>());
            (*shared).abi = ABI;
            (*shared).size = u64::from(settings::ring_size());
            (*shared).epoch = random_epoch();
            (*shared).listeners.0.set_max(settings::max_listeners());
        }
        pg_sys::LWLockRelease(init_lock);
        if (*shared).abi != ABI {
            pgrx::error!("cache_sync found shared memory of another build of the library; restart the server");
        }
        LOCK.store(&raw mut (*pg_sys::GetNamedLWLockTranche(NAME.as_ptr())).lock, Relaxed);
        SHARED.store(shared, Relaxed);
    }
}

fn random_epoch() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: pg_strong_random fills as many bytes as it is told.
    if !unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) } {
        pgrx::error!("cache_sync could not draw a random epoch");
    }
    u64::from_ne_bytes(bytes) >> (u64::BITS - EPOCH_BITS)
}
