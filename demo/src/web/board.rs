//! What the nodes have reported, and how old their reads were.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::locked;

use super::node::REPORT_EVERY;
use super::words::{Report, Way};
use crate::staleness::States;
use cache_sync_kit::Histogram;

/// Nodes of each way.
pub(crate) const NODES_PER_WAY: usize = 2;
/// All nodes: those of cache_sync come first.
pub(crate) const NODES: usize = 2 * NODES_PER_WAY;
/// Whoever has not reported for so long does not serve.
const SILENCE_MAX: Duration = Duration::from_millis(700);
/// What is looked at to say how things are now.
const RECENT: Duration = Duration::from_secs(1);
/// How far back the age of a read is told.
const STATES_KEPT: Duration = Duration::from_secs(120);

/// To which way a node belongs.
pub(crate) fn way_of(node: usize) -> Way {
    Way::BOTH[node / NODES_PER_WAY]
}

/// The nodes of a way.
pub(crate) fn nodes_of(way: Way) -> std::ops::Range<usize> {
    let first = way.place() * NODES_PER_WAY;
    first..first + NODES_PER_WAY
}

/// How old reads were that could be compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ages {
    pub(crate) compared: u64,
    /// A newer state had been committed, and seen by somebody else, before the read began.
    pub(crate) stale: u64,
    /// That had been longer ago than the bound.
    pub(crate) beyond: u64,
    /// Longer than the bound and the time between two reports.
    pub(crate) far_beyond: u64,
    pub(crate) oldest_ns: i64,
}

impl Ages {
    fn add(&mut self, age_ns: i64, bound: Duration) {
        self.compared += 1;
        self.stale += u64::from(age_ns > 0);
        self.beyond += u64::from(is_longer(age_ns, bound));
        self.far_beyond += u64::from(is_longer(age_ns, bound + REPORT_EVERY));
        self.oldest_ns = self.oldest_ns.max(age_ns);
    }

    fn merge(&mut self, other: &Ages) {
        self.compared += other.compared;
        self.stale += other.stale;
        self.beyond += other.beyond;
        self.far_beyond += other.far_beyond;
        self.oldest_ns = self.oldest_ns.max(other.oldest_ns);
    }
}

fn is_longer(age_ns: i64, than: Duration) -> bool {
    i128::from(age_ns) > than.as_nanos().cast_signed()
}

/// A report, judged.
#[derive(Debug, Clone)]
struct Judged {
    report: Report,
    ages: Ages,
    /// Whether the node served was asked with it.
    is_looked_at: bool,
}

impl Judged {
    /// The node served most of what it usually does from memory, nothing failed, and nothing was older than the bound allows.
    fn serves(&self, hit_rate_min: f64) -> bool {
        let Judged { report, ages, .. } = self;
        let from_memory = report.hits as f64 >= report.reads as f64 * hit_rate_min;
        let is_short = !is_longer(report.to_ns - report.from_ns, 2 * REPORT_EVERY);
        is_short && report.hits > 0 && from_memory && report.failed == 0 && ages.far_beyond == 0
    }
}

/// What the nodes of a way do together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sums {
    pub(crate) reads: f64,
    pub(crate) hits: f64,
    pub(crate) writes: f64,
    pub(crate) failed: f64,
    pub(crate) buffered: u64,
    pub(crate) stale: f64,
    pub(crate) beyond: f64,
    pub(crate) oldest_ns: i64,
    pub(crate) reading: Histogram,
}

impl Sums {
    /// The share of reads that a cache answered; none without reads.
    pub(crate) fn hit_rate(&self) -> Option<f64> {
        (self.reads > 0.0).then(|| self.hits / self.reads)
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) reads: u64,
    pub(crate) hits: u64,
    /// How long hits and misses took, all together.
    pub(crate) hits_ns: i64,
    pub(crate) misses_ns: i64,
    pub(crate) writes: u64,
    pub(crate) failed: u64,
    pub(crate) loads: u64,
    pub(crate) batches: u64,
    pub(crate) ages: Ages,
}

#[derive(Debug, Default)]
struct Node {
    recent: Vec<Judged>,
    heard_ns: i64,
}

#[derive(Debug, Default)]
struct Inner {
    nodes: [Node; NODES],
    totals: [Totals; 2],
    states: States,
}

/// What is known.
#[derive(Debug)]
pub(crate) struct Board {
    bound: Duration,
    inner: Mutex<Inner>,
}

impl Board {
    pub(crate) fn new(bound: Duration) -> Board {
        Board { bound, inner: Mutex::default() }
    }

    /// A row has this version in Postgres.
    pub(crate) fn saw(&self, at_ns: i64, id: i64, version: i64) {
        self.inner().states.saw(at_ns, id, version);
    }

    /// Takes what a node reports. Whatever had been seen in Postgres before a read of it began is known by now.
    pub(crate) fn report(&self, node: usize, report: Report) {
        let mut inner = self.inner();
        let Inner { nodes, totals, states } = &mut *inner;
        let mut ages = Ages::default();
        for read in &report.watched {
            if let Some(age_ns) = states.age_ns(read.begun_ns, read.id, read.version) {
                ages.add(age_ns, self.bound);
            }
        }
        let (node, totals) = (&mut nodes[node], &mut totals[way_of(node).place()]);
        totals.reads += report.reads;
        totals.hits += report.hits;
        totals.hits_ns += report.hits_ns;
        totals.misses_ns += report.misses_ns;
        totals.writes += report.writes;
        totals.failed += report.failed;
        totals.loads += report.loads;
        totals.batches += report.batches;
        totals.ages.merge(&ages);
        node.heard_ns = now_ns();
        node.recent.retain(|judged| !is_longer(report.to_ns - judged.report.to_ns, RECENT));
        node.recent.push(Judged { report: Report { watched: Vec::new(), ..report }, ages, is_looked_at: false });
        states.forget_before(now_ns() - STATES_KEPT.as_nanos() as i64);
    }

    /// A node has ended, or is stopped: what it said says nothing about now.
    pub(crate) fn forget(&self, node: usize) {
        self.inner().nodes[node] = Node::default();
    }

    /// Whether a node reports.
    pub(crate) fn is_heard(&self, node: usize) -> bool {
        is_fresh(&self.inner().nodes[node])
    }

    /// Rates a second of a way, from the last second of each node that is heard.
    pub(crate) fn sums(&self, way: Way) -> Sums {
        let inner = self.inner();
        let mut sums = Sums::default();
        for node in inner.nodes[nodes_of(way)].iter().filter(|node| is_fresh(node)) {
            let span_ns: i64 = node.recent.iter().map(|judged| judged.report.to_ns - judged.report.from_ns).sum();
            let rate = |count: u64| count as f64 * 1e9 / span_ns.max(1) as f64;
            for Judged { report, ages, .. } in &node.recent {
                sums.reads += rate(report.reads);
                sums.hits += rate(report.hits);
                sums.writes += rate(report.writes);
                sums.failed += rate(report.failed);
                sums.stale += rate(ages.stale);
                sums.beyond += rate(ages.beyond);
                sums.oldest_ns = sums.oldest_ns.max(ages.oldest_ns);
                sums.reading.merge(&report.reading);
            }
            sums.buffered += node.recent.last().map_or(0, |judged| judged.report.buffered);
        }
        sums
    }

    pub(crate) fn totals(&self, way: Way) -> Totals {
        self.inner().totals[way.place()]
    }

    /// Whether every node of a way has served all the time since this was asked last, and does so now.
    pub(crate) fn has_served(&self, way: Way, hit_rate_min: f64) -> bool {
        let mut inner = self.inner();
        let mut serves = true;
        for node in &mut inner.nodes[nodes_of(way)] {
            serves &= is_fresh(node);
            let last = node.recent.len().saturating_sub(1);
            for (place, judged) in node.recent.iter_mut().enumerate() {
                let is_due = place == last || !judged.is_looked_at;
                judged.is_looked_at = true;
                serves &= !is_due || judged.serves(hit_rate_min);
            }
        }
        serves
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        locked(&self.inner)
    }
}

fn is_fresh(node: &Node) -> bool {
    !node.recent.is_empty() && !is_longer(now_ns() - node.heard_ns, SILENCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::words::WatchedRead;

    const BOUND: Duration = Duration::from_secs(2);
    const SECOND: i64 = 1_000_000_000;

    /// What a report of these reads of row 1 counts as, each begun at a time and answered with a version, of node 0. Version 10 was
    /// seen at second 10, 20 at second 20.
    fn judged(reads: &[(i64, i64)]) -> Ages {
        let board = Board::new(BOUND);
        let start = now_ns();
        board.saw(start + 10 * SECOND, 1, 10);
        board.saw(start + 20 * SECOND, 1, 20);
        let watched = reads
            .iter()
            .map(|&(at, version)| WatchedRead { begun_ns: start + at, id: 1, version })
            .chain([WatchedRead { begun_ns: start + 99 * SECOND, id: 2, version: 0 }])
            .collect();
        board.report(0, Report { watched, ..Report::default() });
        let others = board.totals(Way::Redis).ages;
        assert_eq!(others, Ages::default(), "they are counted for their own way");
        board.totals(Way::CacheSync).ages
    }

    #[test]
    fn a_read_is_stale_once_something_newer_had_been_seen_before_it_began() {
        let none = Ages { compared: 1, ..Ages::default() };
        assert_eq!(judged(&[(20 * SECOND, 10)]), none, "it began at that moment");
        assert_eq!(judged(&[(90 * SECOND, 20)]), none, "there was nothing newer");
        assert_eq!(judged(&[(15 * SECOND, 20)]), none, "it was ahead of who looked");
        let stale = Ages { compared: 1, stale: 1, oldest_ns: 1, ..Ages::default() };
        assert_eq!(judged(&[(20 * SECOND + 1, 10)]), stale);
    }

    #[test]
    fn what_is_older_than_the_bound_is_counted_apart() {
        let within = judged(&[(22 * SECOND, 10), (22 * SECOND, 20)]);
        assert_eq!(within, Ages { compared: 2, stale: 1, oldest_ns: 2 * SECOND, ..Ages::default() });
        let beyond = judged(&[(22 * SECOND + 1, 10)]);
        assert_eq!((beyond.stale, beyond.beyond, beyond.far_beyond), (1, 1, 0));
        let far = judged(&[(22 * SECOND + 250_000_001, 10)]);
        assert_eq!((far.stale, far.beyond, far.far_beyond), (1, 1, 1));
        let skipped = judged(&[(13 * SECOND, 5)]);
        assert_eq!(skipped.oldest_ns, 3 * SECOND, "the first newer state counts");
    }

    #[test]
    fn rates_are_of_the_nodes_that_are_heard() {
        let board = Board::new(BOUND);
        let report = |from_ns, reads| Report {
            from_ns,
            to_ns: from_ns + SECOND / 4,
            reads,
            hits: reads / 2,
            loads: reads,
            ..Report::default()
        };
        board.report(0, report(0, 100));
        board.report(0, report(SECOND / 4, 300));
        board.report(1, report(0, 50));
        let sums = board.sums(Way::CacheSync);
        assert_eq!((sums.reads, sums.hit_rate()), (800.0 + 200.0, Some(0.5)));
        board.forget(1);
        board.report(1, report(SECOND / 4, 0));
        assert_eq!(board.totals(Way::CacheSync).loads, 450, "nothing counts twice because a node was stopped");
        board.forget(1);
        assert_eq!(board.sums(Way::CacheSync).reads, 800.0);
        assert!(!board.is_heard(1) && board.is_heard(0));
        assert_eq!(board.totals(Way::CacheSync).reads, 450);
        assert_eq!(board.sums(Way::Redis).hit_rate(), None);
    }

    #[test]
    fn a_failure_between_two_looks_is_not_overlooked() {
        let board = Board::new(BOUND);
        let from_ns = now_ns();
        let report = |node, place, failed| {
            let from_ns = from_ns + place * SECOND / 4;
            let report =
                Report { from_ns, to_ns: from_ns + SECOND / 4, reads: 10, hits: 9, failed, ..Report::default() };
            board.report(node, report);
        };
        let has_served = || board.has_served(Way::CacheSync, 0.5);
        report(0, 0, 0);
        assert!(!has_served(), "nothing is heard of the other node");
        report(1, 0, 0);
        assert!(has_served());
        report(0, 1, 1);
        report(0, 2, 0);
        assert!(!has_served(), "one call failed");
        assert!(has_served(), "that was told before");
        assert!(!board.has_served(Way::CacheSync, 0.95), "the last report counts again");
    }
}
