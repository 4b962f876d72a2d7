//! Until when entries are good, as the settings of their cache say.

use super::entry::Lifetime;
use crate::codec::value::Value;
use crate::common::time::Moment;
use crate::config::{Ages, share_of};
use cache_sync_core::number::KeyHash;
use std::time::Duration;

/// Until when what is confirmed now is good: a row, and that there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    row: Lifetime,
    absence: Lifetime,
}

impl Lifetimes {
    #[cfg(test)]
    pub(crate) const ENDLESS: Lifetimes = Lifetimes { row: Lifetime::ENDLESS, absence: Lifetime::ENDLESS };

    pub(crate) fn of<V>(self, value: &Value<V>) -> Lifetime {
        if value.is_some() { self.row } else { self.absence }
    }
}

/// Of what was true at `as_of`: for so long if its row expires, and no longer than the cache says. What was loaded at the same moment
/// does not end at the same moment, if there is to be jitter.
pub(super) fn lifetimes(ages: &Ages, hash: KeyHash, as_of: Moment, good_for: Option<Duration>) -> Lifetimes {
    let left = 1.0 - ages.jitter * chance(hash, as_of);
    let end = |time: Option<Duration>| time.map_or(Moment::NEVER, |time| as_of + time);
    // Without jitter it is exact.
    let cut = |time: Duration| if ages.jitter > 0.0 { share_of(time, left) } else { time };
    let of_cache = ages.time_to_live.map(cut);
    let row = Lifetime { until: end(good_for).min(end(of_cache)), row_expires: good_for.is_some() };
    let absence = ages.absent_time_to_live.map(cut).into_iter().chain(of_cache).min();
    Lifetimes { row, absence: Lifetime { until: end(absence), row_expires: false } }
}

/// From 0 to 1: another one for each key, and each time.
fn chance(hash: KeyHash, as_of: Moment) -> f64 {
    // The hash is random already; what a time differs by must reach the upper bits.
    let mixed = (hash.0 ^ as_of.nanos()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// So small a part of the time to idle is taken for nothing: whoever reads more often leaves the entry alone, which others read.
const NOTE_SHARE: u32 = 128;

/// What reads of one cache have to know of idle entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idling {
    time: Duration,
    note_after: Duration,
}

impl Idling {
    pub(super) fn of(ages: &Ages) -> Option<Idling> {
        ages.time_to_idle.map(|time| Idling { time, note_after: time / NOTE_SHARE })
    }

    #[inline]
    pub(super) fn is_over(self, used: Moment, now: Moment) -> bool {
        now.since(used) >= self.time
    }

    /// Whether a read is to be noted.
    #[inline]
    pub(super) fn counts(self, used: Moment, now: Moment) -> bool {
        now.since(used) >= self.note_after
    }
}
