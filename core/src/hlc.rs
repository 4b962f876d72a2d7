//! The hybrid logical clock: `max(wall clock in microseconds, last + 1)`, raised by every plausible number it meets.

use crate::number::Stamp;

/// How far ahead of the clock a foreign number may be and still raise it, in microseconds.
pub const AHEAD_MAX_MICROS: i64 = 5_000_000;

/// The next number after `last`, when the wall clock shows `now_micros`.
pub fn next(last: i64, now_micros: i64) -> i64 {
    now_micros.max(last.saturating_add(1))
}

/// Whether a number from elsewhere may be believed: positive, and not more than [`AHEAD_MAX_MICROS`] ahead of `hlc`.
pub fn is_plausible(number: i64, hlc: i64) -> bool {
    number >= 0 && number <= hlc.saturating_add(AHEAD_MAX_MICROS)
}

/// The stamp of a write that arrives at `hlc`: its own, or that moment if its own is not plausible.
pub fn believed(stamp: i64, hlc: i64) -> i64 {
    if stamp <= hlc.saturating_add(AHEAD_MAX_MICROS) { stamp } else { hlc }
}

/// A client's clock. It follows the server's `hlc()` as the last heartbeat told it, plus the time elapsed since, so
/// that the wall clocks of the clients' hosts play no part.
#[derive(Debug, Default)]
pub struct ClientClock {
    server: i64,
    heard_at_micros: i64,
    last: i64,
}

impl ClientClock {
    /// Takes what the server's `hlc()` said when the client's own clock showed `monotonic_micros`; what it said before that is
    /// forgotten, since a clock that ran ahead may have been set right.
    pub fn hear(&mut self, server: Stamp, monotonic_micros: i64) {
        if self.server == 0 || monotonic_micros >= self.heard_at_micros {
            self.server = server.0;
            self.heard_at_micros = monotonic_micros;
        }
    }

    /// What the server's `hlc()` shows about now.
    pub fn now(&self, monotonic_micros: i64) -> Stamp {
        Stamp(self.server + (monotonic_micros - self.heard_at_micros))
    }

    /// A stamp above the last one handed out and above `seen`, the version that the writer had seen.
    pub fn stamp(&mut self, seen: i64, monotonic_micros: i64) -> Stamp {
        let now = self.now(monotonic_micros).0;
        self.last = now.max(self.last + 1).max(seen.saturating_add(1));
        Stamp(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_only_rise() {
        assert_eq!(next(10, 5), 11);
        assert_eq!(next(10, 50), 50);
        assert_eq!(next(i64::MAX, 5), i64::MAX);
    }

    #[test]
    fn a_number_years_ahead_is_not_believed() {
        assert!(is_plausible(1_000, 0));
        assert!(!is_plausible(i64::MAX, 1_700_000_000_000_000));
        assert!(!is_plausible(-1, 0));
        assert_eq!(
            [5, AHEAD_MAX_MICROS + 6, AHEAD_MAX_MICROS + 7].map(|stamp| believed(stamp, 6)),
            [5, AHEAD_MAX_MICROS + 6, 6]
        );
    }

    #[test]
    fn a_stamp_is_above_the_last_one_the_version_seen_and_the_servers_clock() {
        let mut clock = ClientClock::default();
        clock.hear(Stamp(1_000), 10);
        assert_eq!(clock.stamp(0, 15), Stamp(1_005));
        assert_eq!(clock.stamp(0, 15), Stamp(1_006));
        assert_eq!(clock.stamp(5_000, 15), Stamp(5_001));
        clock.hear(Stamp(900), 20);
        assert_eq!(clock.stamp(0, 20), Stamp(5_002));
        assert_eq!(clock.now(25), Stamp(905), "it was set right");
        clock.hear(Stamp(7_000), 19);
        assert_eq!(clock.now(25), Stamp(905), "what was heard late is old");
    }
}
