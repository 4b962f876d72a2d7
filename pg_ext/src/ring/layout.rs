//! What lies in shared memory, and in which order.

use super::commits::Commits;
use super::entry::Entry;
use super::failing::Failing;
use super::line::OwnCacheLine;
use super::listeners::Listeners;
use super::stats::Stats;
use crate::pg::settings;
use pgrx::pg_sys;
use std::mem::size_of;
use std::sync::atomic::AtomicI64;

/// Tells memory of another build of the library: rises when what lies there is read or written in another way. The sizes are
/// in it too, in case somebody forgets.
const ABI: u64 = 0x6361_6368_0000_0005 ^ ((size_of::<Shared>() as u64) << 8) ^ ((size_of::<Entry>() as u64) << 40);

/// The epoch travels through JSON, which carries 53 bits exactly.
pub(crate) const EPOCH_BITS: u32 = 53;

/// What lies in shared memory; `size` entries follow it.
#[repr(C)]
pub(super) struct Shared {
    abi: u64,
    pub(super) size: u64,
    pub(super) epoch: u64,
    /// The number of our kind of locks, by which every process must know its name.
    pub(super) tranche: i32,
    pub(super) commits: OwnCacheLine<Commits>,
    pub(super) clock: OwnCacheLine<AtomicI64>,
    pub(super) listeners: OwnCacheLine<Listeners>,
    pub(super) stats: OwnCacheLine<Stats>,
    pub(super) failing: OwnCacheLine<Failing>,
}

impl Shared {
    /// Whether the memory is of this build of the library.
    ///
    /// # Safety
    /// It must have been filled, by this build or another one.
    pub(super) unsafe fn is_of_this_build(shared: *const Shared) -> bool {
        // SAFETY: whatever its build, the first number says it.
        unsafe { (*shared).abi == abi() }
    }
}

fn abi() -> u64 {
    #[cfg(feature = "test_faults")]
    if settings::is_other_build() {
        return ABI + 1;
    }
    ABI
}

/// How much memory there must be.
pub(super) fn memory_size() -> usize {
    size_of::<Shared>() + settings::ring_size() as usize * size_of::<Entry>()
}

/// Fills memory that is zero and nobody else has seen yet. Nothing in it may fail.
///
/// # Safety
/// There must be room for a header and as many entries as `settings::ring_size` says.
pub(super) unsafe fn fill(shared: *mut Shared, epoch: u64) {
    // SAFETY: the caller vouches for the memory; all zeroes is a valid header but for what is set here.
    unsafe {
        (*shared).abi = abi();
        (*shared).size = u64::from(settings::ring_size());
        (*shared).epoch = epoch;
        (*shared).tranche = pg_sys::LWLockNewTrancheId();
        (*shared).commits.0.initialize_lock((*shared).tranche);
        (*shared).failing.0.initialize_lock((*shared).tranche);
        (*shared).stats.0.begin();
        (*shared).listeners.0.set_max(settings::max_listeners());
    }
}
