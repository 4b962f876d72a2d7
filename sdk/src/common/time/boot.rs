//! The machine's boot clock.

/// Nanoseconds since the machine was booted, or since some other point before this process began.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
#[inline]
pub(super) fn boot_nanos() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    /// What counts while the machine is suspended: on Apple's systems the monotonic clock does.
    #[cfg(target_vendor = "apple")]
    const CLOCK: ClockId = ClockId::Monotonic;
    #[cfg(not(target_vendor = "apple"))]
    const CLOCK: ClockId = ClockId::Boottime;
    let time = clock_gettime(CLOCK);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds since this process asked first, by the best clock that there is.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn boot_nanos() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "there is no other clock here")]
    let now = std::time::Instant::now();
    // Never 0, which is before everything.
    1 + now.duration_since(*START.get_or_init(|| now)).as_nanos() as u64
}
