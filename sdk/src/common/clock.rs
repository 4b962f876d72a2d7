//! The client's clock: the time, the hybrid logical clock that stamps its writes, and what the clock of the server's host says of ours.

use super::lock::lock;
use super::time::{Moment, Time};
use cache_sync_core::hlc::ClientClock;
use cache_sync_core::number::{HostTime, Stamp, Version};
use std::sync::Mutex;

/// By how many parts of a million one clock may run faster than the other.
const DRIFT_PER_MILLION: i64 = 500;

/// The time, as the feed and every read and write of a client take it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    pub(crate) time: Time,
    hlc: Mutex<ClientClock>,
    offset: Mutex<Option<Offset>>,
}

/// The least by which our clock can be ahead of that of the server's host, in microseconds. What the server made at a time of its own
/// was made at that time of ours or later: when we asked, the server had not answered yet.
#[derive(Clone, Copy, Debug)]
struct Offset {
    ahead: i64,
    at: Moment,
}

impl Offset {
    /// What is left of it now that the clocks may have drifted apart.
    fn ahead_at(self, now: Moment) -> i64 {
        let age = now.micros().saturating_sub(self.at.micros()).max(0);
        self.ahead - age / (1_000_000 / DRIFT_PER_MILLION)
    }
}

impl Clock {
    #[inline]
    pub(crate) fn now(&self) -> Moment {
        self.time.now()
    }

    #[inline]
    pub(crate) fn latest(&self) -> Moment {
        self.time.latest()
    }

    /// Takes what the clock of the server's host showed in the answer to a question that was asked at `asked`.
    pub(crate) fn compare(&self, asked: Moment, server: HostTime) {
        let now = self.now();
        // Both are cut to microseconds.
        let ahead = asked.micros() - server.0 - 1;
        let mut offset = lock(&self.offset);
        let is_possible = |ahead: i64| server.0 + ahead <= now.micros();
        let is_better = |known: Offset| known.ahead_at(now) > ahead && is_possible(known.ahead_at(now));
        if !offset.is_some_and(is_better) {
            *offset = Some(Offset { ahead, at: asked });
        }
    }

    /// The earliest time of ours at which the server can have made what has come by now; `None` while nothing is known of its clock.
    pub(crate) fn earliest(&self, server: HostTime) -> Option<Moment> {
        let now = self.now();
        let mut offset = lock(&self.offset);
        let made = server.0 + (*offset)?.ahead_at(now);
        if made > now.micros() {
            // Nothing comes before it was made: our clock stood still, or another's tells the time now.
            *offset = None;
            return None;
        }
        Some(Moment::from_micros(made))
    }

    /// How long ago the clocks were compared; `None` if nothing is known.
    pub(crate) fn compared_ago(&self) -> Option<std::time::Duration> {
        let now = self.now();
        lock(&self.offset).map(|offset| now.since(offset.at))
    }

    /// Another server's clock tells the time from now on.
    pub(crate) fn forget_server(&self) {
        *lock(&self.offset) = None;
    }

    /// Takes over what the server's hybrid clock said at `at`.
    pub(crate) fn hear(&self, hlc: Stamp, at: Moment) {
        lock(&self.hlc).hear(hlc, at.micros());
    }

    /// Where the server's hybrid clock is about `now`.
    pub(crate) fn hlc(&self, now: Moment) -> Stamp {
        lock(&self.hlc).now(now.micros())
    }

    /// The stamp of a write that was made at `now` over a row of this version.
    pub(crate) fn stamp(&self, seen: Version, now: Moment) -> Stamp {
        lock(&self.hlc).stamp(seen.0, now.micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOUR: i64 = 3_600_000_000;

    fn server_at(clock: &Clock, ahead: i64) -> HostTime {
        HostTime(clock.now().micros() - ahead)
    }

    #[test]
    fn what_the_server_made_is_never_taken_for_newer_than_it_can_be() {
        let clock = Clock::default();
        let asked = clock.now();
        assert_eq!(clock.earliest(HostTime(7)), None, "nothing is known yet");
        // The server answers 20 ms after it was asked; its clock is an hour ahead of ours.
        std::thread::sleep(Duration::from_millis(20));
        let made = server_at(&clock, -HOUR);
        let really = clock.now();
        clock.compare(asked, made);
        let earliest = clock.earliest(made).unwrap();
        assert!(earliest <= asked && really.since(earliest) < Duration::from_secs(1));
        // A quicker answer says more; a slower one after it changes nothing.
        let quick = clock.now();
        let made = server_at(&clock, -HOUR);
        clock.compare(quick, made);
        clock.compare(asked, made);
        let earliest = clock.earliest(made).unwrap();
        assert!(earliest <= quick && quick.since(earliest) < Duration::from_millis(5), "{earliest:?} {quick:?}");
    }

    #[test]
    fn what_is_known_of_the_servers_clock_ages() {
        let offset = Offset { ahead: 1_000_000, at: Moment::from_micros(0) };
        assert_eq!(offset.ahead_at(Moment::from_micros(HOUR)), 1_000_000 - 1_800_000);
    }

    /// A virtual machine was paused, and its clock with it: the server seems to tell of the future.
    #[test]
    fn a_clock_that_stood_still_is_noticed() {
        let clock = Clock::default();
        clock.compare(clock.now(), server_at(&clock, 0));
        let made_meanwhile = HostTime(clock.now().micros() + 10_000_000);
        assert_eq!(clock.earliest(made_meanwhile), None);
        assert_eq!(clock.earliest(server_at(&clock, 0)), None, "until the clocks are compared again");
        clock.compare(clock.now(), made_meanwhile);
        assert!(clock.earliest(made_meanwhile).is_some());
    }
}
