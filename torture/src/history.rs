//! What happened, as those saw it who did it, and whether it may have happened so. No I/O: everything here is a function of histories.
//!
//! ```text
//! event     one call, one write: from when to when, of what, with what result
//! truth     what the database has to say: states of each key in their true order, sums before and after
//! verdict   what is wrong, with the events that prove it
//! line      what was known at a time
//! counters  numbers that only grow: the bound, monotone reads, own writes, conservation; of rows and of queries' sums
//! chains    keys with a line of states: the same of rows that are overwritten, deleted and made anew
//! names     a table's name that means another table: what a cache shows is of one table
//! ends      what must be so when all is quiet
//! ```
//! All times are of one clock of the machine, which no process sets: a read begun at `t` must show what was confirmed to its writer before
//! `t - bound`, or before the last time that its process had caught up, measured from outside.

mod chains;
mod counters;
mod ends;
mod event;
mod line;
mod names;
mod truth;
mod verdict;

pub(crate) use event::{Add, COLUMNS, Call, Event, Fate, HOMES, History, Home, ItemWrite, Nanos, Span, Written};
pub(crate) use truth::{Chain, Link, Sums, Truth};
pub(crate) use verdict::{Rule, Violation};

use std::time::Duration;

/// How many violations of a rule are told one by one.
pub(crate) const TOLD_MAX: usize = 3;

/// Everything that is wrong with these histories, all of which lie between two moments of quiet.
pub(crate) fn check(bound: Duration, truth: &Truth, histories: &[History]) -> Vec<Violation> {
    let bound = bound.as_nanos() as Nanos;
    let mut found = counters::check(bound, truth, histories);
    found.extend(chains::check(bound, truth, histories));
    found.extend(names::check(bound, truth, histories));
    found.extend(ends::check(truth, histories));
    found
}

#[cfg(test)]
mod tests;
