//! Sums since the last report.

use std::sync::Mutex;

use cache_sync_kit::locked;

use crate::web::words::{Report, WatchedRead};

/// How many watched reads a report holds at most; of further ones nobody is told.
const WATCHED_READS_MAX: usize = 20_000;

/// What all tasks of a node add to.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Report>);

impl Tally {
    pub(crate) fn read(&self, took_ns: i64, hit: bool, watched: Option<WatchedRead>) {
        let mut sums = locked(&self.0);
        sums.reads += 1;
        sums.hits += u64::from(hit);
        *(if hit { &mut sums.hits_ns } else { &mut sums.misses_ns }) += took_ns;
        sums.reading.add(took_ns);
        if sums.watched.len() < WATCHED_READS_MAX {
            sums.watched.extend(watched);
        }
    }

    pub(crate) fn wrote(&self) {
        locked(&self.0).writes += 1;
    }

    pub(crate) fn failed(&self) {
        locked(&self.0).failed += 1;
    }

    /// The sums, which begin anew.
    pub(crate) fn take(&self) -> Report {
        std::mem::take(&mut *locked(&self.0))
    }
}
