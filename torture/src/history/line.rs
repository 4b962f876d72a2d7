//! What was known at a time: numbers that grow as events come in.

use super::event::Nanos;

/// The value after each event, in the order of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Vec<(Nanos, i64)>);

impl Line {
    /// The sum of all amounts so far.
    pub(super) fn sums(events: Vec<(Nanos, i64)>) -> Line {
        Line::fold(events, |sum, amount| sum + amount)
    }

    /// The largest value so far.
    pub(super) fn maxima(events: Vec<(Nanos, i64)>) -> Line {
        Line::fold(events, i64::max)
    }

    fn fold(mut events: Vec<(Nanos, i64)>, join: impl Fn(i64, i64) -> i64) -> Line {
        events.sort_by_key(|(at, _)| *at);
        let mut so_far = None;
        for (_, value) in &mut events {
            let joined = so_far.map_or(*value, |before| join(before, *value));
            *value = joined;
            so_far = Some(joined);
        }
        Line(events)
    }

    /// What it was right before `at`; `None` before the first event.
    pub(super) fn before(&self, at: Nanos) -> Option<i64> {
        let known = self.0.partition_point(|(time, _)| *time < at);
        known.checked_sub(1).map(|last| self.0[last].1)
    }

    /// When it first was at least `value`.
    pub(super) fn reached(&self, value: i64) -> Option<Nanos> {
        let reached = self.0.partition_point(|(_, so_far)| *so_far < value);
        self.0.get(reached).map(|(at, _)| *at)
    }
}
