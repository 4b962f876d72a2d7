//! How old reads were, seen from outside: what nodes read against what a third process saw in Postgres.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use cache_sync_kit::{Histogram, Result};

use crate::lines;

/// How many stale reads are told one by one.
const TOLD_MAX: usize = 5;

/// One line of a log of samples or reads: this account had this version at that time.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at_ns: i64,
    aid: i32,
    version: i64,
}

/// A row had this version at that time.
#[derive(Debug, Clone, Copy)]
struct State {
    at_ns: i64,
    version: i64,
}

/// What the comparison found.
#[derive(Debug, Default)]
pub(crate) struct Staleness {
    /// Reads that were compared.
    pub(crate) reads: u64,
    /// Reads of a state older than one sampled more than the bound before they began.
    pub(crate) stale: u64,
    /// How long before a read began a newer state than the one it returned had been sampled (0: none had).
    pub(crate) age: Histogram,
    /// Some of the stale reads, told.
    pub(crate) told: Vec<String>,
}

/// The states of rows as somebody saw them in Postgres, each with the time when it was first seen.
#[derive(Debug, Default)]
pub(crate) struct States(HashMap<i64, VecDeque<State>>);

impl States {
    /// The row with this key has this version in Postgres.
    pub(crate) fn saw(&mut self, at_ns: i64, key: i64, version: i64) {
        let states = self.0.entry(key).or_default();
        if states.back().is_none_or(|last| last.version < version) {
            states.push_back(State { at_ns, version });
        }
    }

    /// How long before a read began a newer state than the one that it returned had been seen; 0 if none had. `None`: nobody looks at
    /// that row.
    pub(crate) fn age_ns(&self, begun_ns: i64, key: i64, version: i64) -> Option<i64> {
        let states = self.0.get(&key)?;
        let newer = states.partition_point(|state| state.version <= version);
        Some(states.get(newer).map_or(0, |state| (begun_ns - state.at_ns).max(0)))
    }

    /// Lets go of states that are older, but for the newest of each row: ages are told up to there only.
    pub(crate) fn forget_before(&mut self, at_ns: i64) {
        for states in self.0.values_mut() {
            let old = states.partition_point(|state| state.at_ns < at_ns);
            states.drain(..old.min(states.len().saturating_sub(1)));
        }
    }

    /// The version that the row had at that time.
    fn version_at(&self, at_ns: i64, key: i64) -> Option<i64> {
        let states = self.0.get(&key)?;
        let later = states.partition_point(|state| state.at_ns <= at_ns);
        Some(states.get(later.checked_sub(1)?)?.version)
    }
}

/// What the sampler wrote down.
#[derive(Debug, Default)]
pub(crate) struct Samples(States);

impl Samples {
    pub(crate) fn read(file: &Path) -> Result<Samples> {
        Ok(Samples::of(read(file)?))
    }

    fn of(seen: impl IntoIterator<Item = Seen>) -> Samples {
        let mut states = States::default();
        seen.into_iter().for_each(|Seen { at_ns, aid, version }| states.saw(at_ns, i64::from(aid), version));
        Samples(states)
    }

    /// Compares the reads in a node's log.
    pub(crate) fn compare(&self, reads: &Path, bound: Duration, into: &mut Staleness) -> Result<()> {
        self::read(reads)?.into_iter().for_each(|read| self.compare_one(read, bound, into));
        Ok(())
    }

    fn compare_one(&self, read: Seen, bound: Duration, into: &mut Staleness) {
        let Seen { at_ns: begun_ns, aid, version } = read;
        let Some(age_ns) = self.0.age_ns(begun_ns, i64::from(aid), version) else { return };
        into.reads += 1;
        into.age.add(age_ns);
        if i128::from(age_ns) <= bound.as_nanos().cast_signed() {
            return;
        }
        into.stale += 1;
        if into.told.len() < TOLD_MAX {
            into.told.push(format!(
                "account {aid}: a read returned version {version}, {:.3} s after a newer one had been seen in Postgres \
                 (the row was at {:?})",
                age_ns as f64 / 1e9,
                self.0.version_at(begun_ns, i64::from(aid))
            ));
        }
    }
}

/// A log.
fn read(file: &Path) -> Result<Vec<Seen>> {
    let text = std::fs::read_to_string(file)?;
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let (at_ns, aid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Seen { at_ns, aid, version: words.next()?.parse().ok()? })
    };
    lines::whole(&text).map(|line| parse(line).ok_or_else(|| format!("{}: `{line}`", file.display()).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_stale_when_a_newer_state_was_seen_more_than_the_bound_before() {
        let samples =
            Samples::of([(0, 10), (100, 20), (200, 30)].map(|(at_ns, version)| Seen { at_ns, aid: 1, version }));
        let stale = |begun_ns, version| {
            let mut staleness = Staleness::default();
            samples.compare_one(Seen { at_ns: begun_ns, aid: 1, version }, Duration::from_nanos(50), &mut staleness);
            staleness.stale == 1
        };
        assert!(!stale(140, 10), "the newer one was seen 40 before");
        assert!(stale(151, 10));
        assert!(!stale(240, 20) && stale(251, 20) && stale(260, 25));
        assert!(!stale(9999, 30) && !stale(9999, 31), "nothing newer was ever seen");
        let mut staleness = Staleness::default();
        samples.compare_one(Seen { at_ns: 9999, aid: 2, version: 1 }, Duration::ZERO, &mut staleness);
        assert_eq!(staleness.reads, 0, "an account that was not sampled");
    }
}
