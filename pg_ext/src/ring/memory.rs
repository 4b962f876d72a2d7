//! Where the ring lies, as this process has it mapped.
//!
//! A library that is preloaded asks for a part of the server's shared memory; [`super::segment`] is for one that is not. The memory
//! lasts until the server ends or crashes, and no longer in a process than what that calls before it leaves shared memory.

use super::entry::Entry;
use super::layout::{EPOCH_BITS, Shared, fill, memory_size};
use crate::pg::failure::Failure;
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;
use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr};

pub(super) const NAME: &CStr = c"cache_sync";
/// The ring's memory, as this process has it mapped.
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(null_mut());
static IS_PRELOADED: AtomicBool = AtomicBool::new(false);

#[inline]
pub(super) fn shared() -> Option<&'static Shared> {
    // SAFETY: either null or the start of the memory, which stays mapped until all has run that Postgres calls before a process
    // leaves shared memory, and nothing here runs later; what is not atomic in it was written before the pointer was, but for the
    // lock, which only Postgres touches.
    unsafe { SHARED.load(Relaxed).as_ref() }
}

/// Where the ring's entries begin; to be called once there is a ring. Not by way of a reference to the header, which ends there.
pub(super) fn first_entry() -> *mut Entry {
    // SAFETY: there is room for `size` entries after the header.
    unsafe { SHARED.load(Relaxed).add(1).cast() }
}

/// Whether this process has a ring: always where the library was preloaded, and from PostgreSQL 17 on once it has called
/// [`super::segment::ensure`].
#[inline]
pub(crate) fn is_there() -> bool {
    shared().is_some()
}

/// The clock that all backends share.
pub(super) fn clock() -> Option<&'static AtomicI64> {
    shared().map(|shared| &shared.clock.0)
}

/// The random number of this memory; below 2^53.
pub(crate) fn epoch() -> Option<u64> {
    shared().map(|shared| shared.epoch)
}

/// Whether the library was preloaded.
pub(crate) fn is_preloaded() -> bool {
    IS_PRELOADED.load(Relaxed)
}

/// Makes the memory known to this process.
///
/// # Safety
/// It must have been filled, by this library or another build of it, and stay.
pub(super) unsafe fn adopt(shared: *mut Shared) -> Result<(), Failure> {
    // SAFETY: the caller vouches for the memory, of which only our own is looked at further.
    unsafe {
        if !Shared::is_of_this_build(shared) {
            return Err(Failure::new(b"CS007", "shared memory is of another build of cache_sync")
                .hint("Restart the server, so that all connections use the library that is installed now."));
        }
        pg_sys::LWLockRegisterTranche((*shared).tranche, NAME.as_ptr());
    }
    SHARED.store(shared, Relaxed);
    Ok(())
}

pub(super) fn random_epoch() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: pg_strong_random fills as many bytes as it is told.
    if !unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) } {
        pgrx::error!("cache_sync could not draw a random epoch");
    }
    u64::from_ne_bytes(bytes) >> (u64::BITS - EPOCH_BITS)
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

#[pg_guard]
unsafe extern "C-unwind" fn request_memory() {
    // SAFETY: Postgres calls this hook at the one time when shared memory may be asked for.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            previous();
        }
        pg_sys::RequestAddinShmemSpace(memory_size());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn make_memory() {
    // The lock that Postgres documents for this hook.
    const ADDIN_SHMEM_INIT_LOCK: usize = 21;
    // SAFETY: Postgres calls this hook when shared memory is there, at start-up and after each crash. The memory asked
    // for is ours alone, aligned to a cache line at least, and not used by anybody before this hook returns.
    let adopted = unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        let init_lock = &raw mut (*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT_LOCK)).lock;
        pg_sys::LWLockAcquire(init_lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let mut found = false;
        let shared = pg_sys::ShmemInitStruct(NAME.as_ptr(), memory_size(), &mut found).cast::<Shared>();
        if !found {
            shared.cast::<u8>().write_bytes(0, size_of::<Shared>());
            fill(shared, random_epoch());
        }
        pg_sys::LWLockRelease(init_lock);
        adopt(shared)
    };
    match adopted {
        Ok(()) => IS_PRELOADED.store(true, Relaxed),
        Err(failure) => pgrx::error!("{failure:?}"),
    }
}
