//! Sums over the nodes of a run.

use crate::child::Board;
use crate::message::{Counts, Latencies};
use cache_sync_kit::Histogram;

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) counts: Counts,
    pub(crate) hit: Histogram,
    pub(crate) miss: Histogram,
    pub(crate) write: Histogram,
    pub(crate) commit_to_drop: Histogram,
    /// How long a newer state had been there when a read began.
    pub(crate) age: Histogram,
    pub(crate) entries: u64,
}

impl Figures {
    pub(crate) fn of(board: &Board) -> Figures {
        Figures { counts: board.counts(), commit_to_drop: board.commit_to_drop(), ..Figures::default() }
    }

    pub(crate) fn add(&mut self, entries: u64, latencies: &Latencies) {
        self.entries += entries;
        self.hit.merge(&latencies.hit);
        self.miss.merge(&latencies.miss);
        self.write.merge(&latencies.write);
    }

    /// The share of reads that memory answered.
    pub(crate) fn hit_rate(&self) -> f64 {
        self.counts.hits as f64 / ((self.counts.hits + self.counts.misses).max(1)) as f64
    }

    /// The durations, with their names.
    pub(crate) fn durations(&self) -> [(&'static str, &Histogram); 5] {
        [
            ("hit", &self.hit),
            ("miss", &self.miss),
            ("buffered write", &self.write),
            ("commit to drop", &self.commit_to_drop),
            ("age of what was read", &self.age),
        ]
    }
}
