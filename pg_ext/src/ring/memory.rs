//! Where the ring lies.
//!
//! A library that is preloaded asks for a part of the server's shared memory. One that is not gets, from PostgreSQL 17 on, a
//! segment by its name, made by the first backend that needs it. Each makes sure that it has the ring before it notes its first
//! change, so whoever commits a change has it, and there is no other way to tell of it. (Builds before this one NOTIFY there:
//! restart the server.) The segment lasts until the server ends
//! or crashes, like the other memory, and no longer in a process than what that calls before it leaves shared memory.

use super::commits::Commits;
use super::listeners::Listeners;
use super::stats::Stats;
use super::{EPOCH_BITS, Entry};
use crate::pg::failure::Failure;
use crate::pg::settings;
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;
use std::mem::size_of;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr};

const NAME: &CStr = c"cache_sync";
/// Tells memory of another build of the library: rises when what lies there is read or written in another way. The sizes are
/// in it too, in case somebody forgets.
const ABI: u64 = 0x6361_6368_0000_0004 ^ ((size_of::<Shared>() as u64) << 8) ^ ((size_of::<Entry>() as u64) << 40);

/// Keeps what many write apart from what others read.
#[repr(C, align(128))]
pub(super) struct OwnCacheLine<T>(pub(super) T);

/// What lies in shared memory; `size` entries follow it.
#[repr(C)]
pub(super) struct Shared {
    abi: u64,
    pub(super) size: u64,
    pub(super) epoch: u64,
    /// The number of our kind of locks, by which every process must know its name.
    tranche: i32,
    pub(super) commits: OwnCacheLine<Commits>,
    pub(super) clock: OwnCacheLine<AtomicI64>,
    pub(super) listeners: OwnCacheLine<Listeners>,
    pub(super) stats: OwnCacheLine<Stats>,
}

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

/// Whether the library was preloaded.
pub(crate) fn is_preloaded() -> bool {
    IS_PRELOADED.load(Relaxed)
}

/// Makes sure that this process has the ring, where there can be one. To be called before anything that needs it: it may raise
/// errors.
#[inline]
pub(crate) fn ensure() -> Result<(), Failure> {
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    if shared().is_none() {
        return segment::adopt_or_make();
    }
    Ok(())
}

/// Fills memory that is zero and nobody else has seen yet. Nothing in it may fail.
///
/// # Safety
/// There must be room for a header and as many entries as `settings::ring_size` says.
unsafe fn fill(shared: *mut Shared, epoch: u64) {
    // SAFETY: the caller vouches for the memory; all zeroes is a valid header but for what is set here.
    unsafe {
        (*shared).abi = abi();
        (*shared).size = u64::from(settings::ring_size());
        (*shared).epoch = epoch;
        (*shared).tranche = pg_sys::LWLockNewTrancheId();
        pg_sys::LWLockInitialize((*shared).commits.0.lock.get(), (*shared).tranche);
        (*shared).listeners.0.set_max(settings::max_listeners());
    }
}

/// Makes the memory known to this process.
///
/// # Safety
/// It must have been filled, by this library or another build of it, and stay.
unsafe fn adopt(shared: *mut Shared) -> Result<(), Failure> {
    // SAFETY: whatever its build, the first number says it, and only memory of our own is looked at further.
    unsafe {
        if (*shared).abi != abi() {
            return Err(Failure::new(b"CS007", "shared memory is of another build of cache_sync")
                .hint("Restart the server, so that all connections use the library that is installed now."));
        }
        pg_sys::LWLockRegisterTranche((*shared).tranche, NAME.as_ptr());
    }
    SHARED.store(shared, Relaxed);
    Ok(())
}

fn abi() -> u64 {
    #[cfg(feature = "test_faults")]
    if settings::is_other_build() {
        return ABI + 1;
    }
    ABI
}

fn random_epoch() -> u64 {
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

fn memory_size() -> usize {
    size_of::<Shared>() + settings::ring_size() as usize * size_of::<Entry>()
}

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

/// Without preloading.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
mod segment {
    use super::{Entry, NAME, Shared, adopt, fill, random_epoch};
    use crate::pg::failure::Failure;
    use crate::pg::settings::RING_SIZE_DEFAULT;
    use pgrx::{PgTryBuilder, pg_sys, pg_sys::panic::CaughtError};
    use std::ffi::c_void;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// The same for all builds, or Postgres would refuse one without saying what to do.
    const SIZE: usize = 4 << 20;
    // Without preloading the settings that size it are not there, and their defaults hold.
    const _: () = assert!(size_of::<Shared>() + RING_SIZE_DEFAULT as usize * size_of::<Entry>() <= SIZE);
    /// The epoch, in case it is this process that makes the segment.
    static EPOCH: AtomicU64 = AtomicU64::new(0);

    #[cold]
    pub(super) fn adopt_or_make() -> Result<(), Failure> {
        // While the segment is being made nothing may fail, so this is done before.
        EPOCH.store(random_epoch(), Relaxed);
        let segment = PgTryBuilder::new(|| {
            let mut found = false;
            // SAFETY: a segment of this name is ours; it is aligned to 128 bytes at least.
            Ok(unsafe { pg_sys::GetNamedDSMSegment(NAME.as_ptr(), SIZE, Some(make), &mut found) })
        })
        .catch_others(|error| match error {
            CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => Err(failure(report.message())),
            panic @ CaughtError::RustPanic { .. } => panic.rethrow(),
        })
        .execute()?;
        // SAFETY: it was filled by `make` of this build or another one.
        unsafe { adopt(segment.cast()) }
    }

    fn failure(message: &str) -> Failure {
        Failure::new(b"53200", format!("cache_sync cannot have its shared memory: {message}"))
            .hint("Let the system have more shared memory, or add cache_sync to shared_preload_libraries and restart the server.")
    }

    unsafe extern "C-unwind" fn make(memory: *mut c_void) {
        // SAFETY: Postgres calls this once, with memory of the size that was asked for, before others see it. What `fill` calls
        // of Postgres raises no errors.
        unsafe {
            memory.cast::<u8>().write_bytes(0, size_of::<Shared>());
            fill(memory.cast(), EPOCH.load(Relaxed));
        }
    }
}
