//! The clock of the server's host, by which clients tell how old is what they hear.

use cache_sync_core::number::HostTime;
use rustix::time::{ClockId, clock_gettime};

/// What goes on while the machine is suspended, and is never set.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// The time now. Never 0.
pub(crate) fn now() -> HostTime {
    let time = clock_gettime(CLOCK);
    HostTime(1.max(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000))
}
