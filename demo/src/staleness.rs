//! How old reads were, seen from outside: what nodes read against what a third process saw in Postgres.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use crate::Result;
use crate::histogram::Histogram;

/// How many stale reads are told one by one.
const TOLD_MAX: usize = 5;

/// One line of a log of samples or reads: this account had this version at that time.
type Seen = (i64, i32, i64);

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

/// The states of all sampled accounts, each with the time when it was first seen.
#[derive(Debug, Default)]
pub(crate) struct Samples(HashMap<i32, Vec<(i64, i64)>>);

impl Samples {
    pub(crate) fn read(file: &Path) -> Result<Samples> {
        Ok(Samples::of(lines(file)?))
    }

    fn of(seen: impl IntoIterator<Item = Seen>) -> Samples {
        let mut samples = Samples::default();
        for (at_ns, aid, version) in seen {
            let states = samples.0.entry(aid).or_default();
            if states.last().is_none_or(|(_, last)| *last < version) {
                states.push((at_ns, version));
            }
        }
        samples
    }

    /// Compares the reads in a node's log.
    pub(crate) fn compare(&self, reads: &Path, bound: Duration, into: &mut Staleness) -> Result<()> {
        lines(reads)?.into_iter().for_each(|read| self.compare_one(read, bound, into));
        Ok(())
    }

    fn compare_one(&self, (begun_ns, aid, version): Seen, bound: Duration, into: &mut Staleness) {
        let Some(states) = self.0.get(&aid) else { return };
        into.reads += 1;
        let newer = states.partition_point(|(_, of)| *of <= version);
        let age_ns = states.get(newer).map_or(0, |(sampled_ns, _)| (begun_ns - sampled_ns).max(0));
        into.age.add(age_ns);
        if i128::from(age_ns) <= bound.as_nanos().cast_signed() {
            return;
        }
        into.stale += 1;
        if into.told.len() < TOLD_MAX {
            let newest = states[..states.partition_point(|(at, _)| *at <= begun_ns)].last();
            into.told.push(format!(
                "account {aid}: a read returned version {version}, {:.3} s after a newer one had been seen in Postgres \
                 (the row was at {:?})",
                age_ns as f64 / 1e9,
                newest.map(|(_, version)| version)
            ));
        }
    }
}

/// The lines of a log. The last may be torn, if its process was killed.
fn lines(file: &Path) -> Result<Vec<Seen>> {
    let text = std::fs::read_to_string(file)?;
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let seen = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(seen)
    };
    whole.lines().map(|line| parse(line).ok_or_else(|| format!("{}: `{line}`", file.display()).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_stale_when_a_newer_state_was_seen_more_than_the_bound_before() {
        let samples = Samples::of([(0, 1, 10), (100, 1, 20), (200, 1, 30)]);
        let stale = |begun_ns, version| {
            let mut staleness = Staleness::default();
            samples.compare_one((begun_ns, 1, version), Duration::from_nanos(50), &mut staleness);
            staleness.stale == 1
        };
        assert!(!stale(140, 10), "the newer one was seen 40 before");
        assert!(stale(151, 10));
        assert!(!stale(240, 20) && stale(251, 20) && stale(260, 25));
        assert!(!stale(9999, 30) && !stale(9999, 31), "nothing newer was ever seen");
        let mut staleness = Staleness::default();
        samples.compare_one((9999, 2, 1), Duration::ZERO, &mut staleness);
        assert_eq!(staleness.reads, 0, "an account that was not sampled");
    }
}
