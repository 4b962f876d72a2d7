//! The time as a client takes it: one that goes on while the machine is suspended, as nothing that is said of freshness may stop then.

mod boot;
mod coarse;

use boot::boot_nanos;
use coarse::Coarse;
use std::ops::Add;
use std::time::Duration;

/// An instant of the machine's boot clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// After everything.
    pub(crate) const NEVER: Moment = Moment(u64::MAX);

    pub(crate) const fn from_nanos(nanos: u64) -> Moment {
        Moment(nanos)
    }

    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }

    pub(crate) const fn micros(self) -> i64 {
        (self.0 / 1_000) as i64
    }

    /// From microseconds, which may lie before the machine was booted.
    pub(crate) const fn from_micros(micros: i64) -> Moment {
        Moment(if micros < 0 { 0 } else { (micros as u64).saturating_mul(1_000) })
    }

    /// So long before.
    pub(crate) fn before(self, time: Duration) -> Moment {
        Moment(self.0.saturating_sub(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long `earlier` was ago; nothing if it was not.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// However long that is.
impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// What the time is asked of.
#[derive(Debug, Default)]
pub(crate) struct Time {
    coarse: Coarse,
    /// By how many nanoseconds a test has set it forward.
    #[cfg(feature = "test-faults")]
    ahead: std::sync::atomic::AtomicU64,
}

impl Time {
    #[inline]
    pub(crate) fn now(&self) -> Moment {
        self.moment(boot_nanos())
    }

    /// A moment that is not before now, and mostly soon after it. It costs less than [`Time::now`].
    #[inline]
    pub(crate) fn latest(&self) -> Moment {
        self.moment(self.coarse.latest())
    }

    #[inline]
    fn moment(&self, nanos: u64) -> Moment {
        #[cfg(feature = "test-faults")]
        let nanos = nanos + self.ahead.load(std::sync::atomic::Ordering::Relaxed);
        Moment(nanos)
    }

    /// The machine has been suspended for so long, as far as this client can tell.
    #[cfg(feature = "test-faults")]
    pub(crate) fn suspend(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.ahead.fetch_add(nanos, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_and_knows_no_overflow() {
        let time = Time::default();
        let before = time.now();
        assert!(time.now() >= before && before > Moment::from_nanos(0));
        assert_eq!((before + Duration::from_secs(1)).since(before), Duration::from_secs(1));
        assert_eq!(before.since(before + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(before + Duration::MAX, Moment::NEVER);
    }

    #[test]
    fn what_is_not_before_now_is_soon_after_it() {
        const FAR: Duration = Duration::from_secs(5);
        let time = Time::default();
        for _ in 0..100_000 {
            let (before, latest, after) = (time.now(), time.latest(), time.now());
            assert!(latest >= before && latest.since(after) < FAR, "{before:?} {latest:?} {after:?}");
        }
    }

    /// Else a machine that was suspended would look as if no time had passed.
    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_the_clock_that_goes_on_while_the_machine_is_suspended() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let now = Time::default().now();
        assert!(now.since(Moment::from_nanos(boot.tv_sec as u64 * 1_000_000_000)) < Duration::from_secs(2));
        assert!((boot.tv_sec as f64 - uptime).abs() < 2.0, "{boot:?} {uptime}");
    }
}
