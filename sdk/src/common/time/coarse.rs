//! A cheap bound on the boot clock, for hits: it takes as long to read that clock as to find an entry.
//!
//! The kernel keeps coarse readings of its monotonic and its wall clock, which it renews with each tick, so they cost next to nothing
//! to read. The monotonic one stands still while the machine is suspended, and there is no coarse boot clock. But when a machine wakes,
//! the kernel adds what it slept to boot clock and wall clock alike. So as long as wall clock and monotonic clock have not moved apart,
//! the boot clock has gone on as the monotonic one. When they have, whatever the reason, the exact boot clock is asked, once, and what
//! they are apart then is the new measure.
//!
//! Both are renewed together, and what the monotonic one has left behind it never shows again: it goes on until the machine falls
//! asleep. So whoever reads what it was when the two were last compared needs the other one no more, and that is nearly every hit.

#[cfg(target_os = "linux")]
pub(super) use linux::Coarse;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Coarse;

#[cfg(target_os = "linux")]
mod linux {
    use super::super::boot::boot_nanos;
    use crate::common::lock::lock;
    use rustix::time::{ClockId, clock_gettime};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicI64, Ordering};

    const MILLISECOND: i64 = 1_000_000;
    /// Ticks come every 10 ms or sooner. If the processor that renews the clocks is held up (by a hypervisor), another one does so after
    /// five of its own ticks, in kernels from 5.18 on.
    const LAG_MAX: i64 = 70 * MILLISECOND;
    /// So much the two clocks may move apart unnoticed: a tick may come between the two readings.
    const APART_MAX: i64 = 20 * MILLISECOND;

    /// What the coarse clocks were when the boot clock was asked. The first look finds that they have moved apart.
    #[derive(Debug, Default)]
    pub(in super::super) struct Coarse {
        /// By how much the boot clock was ahead of the monotonic one, at most.
        boot_ahead: AtomicI64,
        /// By how much the wall clock was ahead of the monotonic one.
        wall_ahead: AtomicI64,
        /// What the monotonic one was when they were last compared.
        compared_at: AtomicI64,
        anchoring: Mutex<()>,
    }

    impl Coarse {
        /// Nanoseconds of the boot clock that it has not passed yet.
        #[inline]
        pub(in super::super) fn latest(&self) -> u64 {
            let monotonic = read(ClockId::MonotonicCoarse);
            self.known(monotonic).unwrap_or_else(|| self.look(monotonic))
        }

        /// The bound, if the clocks were compared since they were renewed.
        #[inline]
        fn known(&self, monotonic: i64) -> Option<u64> {
            // Before the measure, which is stored first: who knows that it was compared must not reckon with the measure of before.
            (monotonic == self.compared_at.load(Ordering::Acquire)).then(|| self.bound(monotonic))
        }

        /// They were renewed.
        #[cold]
        #[inline(never)]
        fn look(&self, monotonic: i64) -> u64 {
            self.compared(monotonic, read(ClockId::RealtimeCoarse)).unwrap_or_else(|| self.anchor())
        }

        /// The bound, unless they have moved apart.
        fn compared(&self, monotonic: i64, wall: i64) -> Option<u64> {
            // Before the other one, which is stored first, as above.
            let wall_ahead = self.wall_ahead.load(Ordering::Acquire);
            let bound = self.bound(monotonic);
            if (wall - monotonic).abs_diff(wall_ahead) > APART_MAX.unsigned_abs() {
                return None;
            }
            self.compared_at.store(monotonic, Ordering::Release);
            Some(bound)
        }

        #[inline]
        fn bound(&self, monotonic: i64) -> u64 {
            // They may have been apart by that much to the one side, and are to the other.
            (monotonic + self.boot_ahead.load(Ordering::Relaxed) + LAG_MAX + 2 * APART_MAX) as u64
        }

        /// Takes what is now as the measure. Returns the time by the exact clock.
        #[cold]
        #[inline(never)]
        fn anchor(&self) -> u64 {
            let _one = lock(&self.anchoring);
            // The boot clock last: it cannot be said to be less ahead than it is.
            let (monotonic, wall) = (read(ClockId::MonotonicCoarse), read(ClockId::RealtimeCoarse));
            let boot = boot_nanos();
            self.set(monotonic, wall, boot);
            boot
        }

        fn set(&self, monotonic: i64, wall: i64, boot: u64) {
            self.boot_ahead.store(boot as i64 - monotonic, Ordering::Relaxed);
            self.wall_ahead.store(wall - monotonic, Ordering::Release);
        }
    }

    #[inline]
    fn read(clock: ClockId) -> i64 {
        let time = clock_gettime(clock);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const SECOND: i64 = 1_000_000_000;
        const WALL: i64 = 1_700_000_000 * SECOND;

        /// After 10 s of waking, of which the boot clock knows that they were 100.
        fn anchored() -> Coarse {
            let coarse = Coarse::default();
            assert_eq!(coarse.compared(10 * SECOND, WALL), None, "nothing is known yet");
            coarse.set(10 * SECOND, WALL, 100 * SECOND as u64);
            coarse
        }

        #[test]
        fn it_is_never_before_the_boot_clock() {
            let coarse = anchored();
            for after in [0, MILLISECOND, 3600 * SECOND] {
                for lag in [0, LAG_MAX] {
                    let now = (100 * SECOND + after) as u64;
                    let bound = coarse.compared(10 * SECOND + after - lag, WALL + after - lag).unwrap();
                    assert!(bound >= now && bound - now <= 120 * MILLISECOND as u64, "{bound} {now}");
                }
            }
        }

        /// The monotonic clock stood still, the wall clock did not. Then the exact clock is asked, and says what is so from now on.
        #[test]
        fn a_machine_that_slept_is_noticed() {
            let coarse = anchored();
            assert_eq!(coarse.compared(11 * SECOND, WALL + 61 * SECOND), None);
            coarse.set(11 * SECOND, WALL + 61 * SECOND, 161 * SECOND as u64);
            let bound = coarse.compared(12 * SECOND, WALL + 62 * SECOND).unwrap();
            assert!(bound >= 162 * SECOND as u64 && bound < 163 * SECOND as u64);
        }

        #[test]
        fn a_sleep_that_is_too_short_to_be_noticed_lies_within_the_bound() {
            let coarse = anchored();
            let (slept, drifted) = (2 * APART_MAX, -APART_MAX);
            let bound = coarse.compared(10 * SECOND, WALL + slept + drifted).unwrap();
            assert!(bound >= (100 * SECOND + slept + LAG_MAX) as u64);
            assert_eq!(coarse.compared(10 * SECOND, WALL + slept + drifted + 1), None);
        }

        /// Whoever has read a time anew, and only who has, compares.
        #[test]
        fn what_was_compared_holds_until_the_clocks_are_renewed() {
            let coarse = anchored();
            assert_eq!(coarse.known(10 * SECOND), None, "nothing is compared yet");
            let bound = coarse.compared(11 * SECOND, WALL + SECOND);
            assert_eq!(coarse.known(11 * SECOND), bound);
            assert_eq!(coarse.known(11 * SECOND + 1), None);
            assert_eq!(coarse.compared(11 * SECOND + 1, WALL + 61 * SECOND), None);
            assert_eq!(coarse.known(11 * SECOND + 1), None, "they have moved apart");
        }

        /// Somebody has set the wall clock, to whichever side: the machine may have slept as well.
        #[test]
        fn a_wall_clock_that_was_set_proves_nothing() {
            let coarse = anchored();
            for set in [-SECOND, SECOND] {
                assert_eq!(coarse.compared(11 * SECOND, WALL + SECOND + set), None);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    /// There are no coarse clocks here.
    #[derive(Debug, Default)]
    pub(in super::super) struct Coarse;

    impl Coarse {
        pub(in super::super) fn latest(&self) -> u64 {
            super::super::boot::boot_nanos()
        }
    }
}
