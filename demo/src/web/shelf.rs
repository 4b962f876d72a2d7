//! A few rows as Postgres has them and as each node shows them, and how long after its commit each node showed a state.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use cache_sync_kit::{locked, statistics};
use serde::Serialize;

use super::board::{NODES, way_of};
use super::side::SHELF;
use super::words::{Shown, Way};

/// So many states of a row may wait for a node to show them.
const WAITING_MAX: usize = 600;
/// How far back delays are told, and how many at most.
const DELAYS_KEPT_NS: i64 = 10_000_000_000;
const DELAYS_MAX: usize = 1000;

/// A row in Postgres.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Item {
    pub(crate) id: i64,
    pub(crate) text: String,
    #[serde(skip)]
    pub(crate) version: i64,
}

/// A row as a node shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Cell {
    pub(crate) text: Option<String>,
    /// Postgres has something newer.
    pub(crate) behind: bool,
    /// From the commit of what it shows until it showed it, in milliseconds.
    pub(crate) delay_ms: Option<f64>,
}

/// A state of a row whose commit was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) id: i64,
    pub(crate) version: i64,
    pub(crate) at_ns: i64,
}

/// A row as everybody has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    #[serde(flatten)]
    pub(crate) item: Item,
    pub(crate) cells: Vec<Cell>,
}

/// From commits until nodes showed what was committed, of the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Delays {
    pub(crate) median_ms: Option<f64>,
    pub(crate) worst_ms: Option<f64>,
}

#[derive(Debug, Default)]
struct Row {
    item: Option<Item>,
    /// The newest version whose commit is known.
    confirmed: i64,
    nodes: [Shows; NODES],
}

#[derive(Debug, Default)]
struct Shows {
    shown: Option<Shown>,
    delay_ns: Option<i64>,
    /// Versions that it does not show yet, and when their commits were answered.
    waiting: VecDeque<(i64, i64)>,
}

#[derive(Debug, Default)]
struct Inner {
    rows: HashMap<i64, Row>,
    /// When something was shown, and how long after its commit; by way.
    delays: [VecDeque<(i64, i64)>; 2],
}

/// The rows.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<Inner>);

impl Shelf {
    /// Postgres has this row, and somebody saw it at that time.
    pub(crate) fn stored(&self, at_ns: i64, item: Item) {
        let mut inner = locked(&self.0);
        inner.confirm(Confirmed { id: item.id, version: item.version, at_ns });
        let stored = &mut inner.rows.entry(item.id).or_default().item;
        if stored.as_ref().is_none_or(|before| before.version < item.version) {
            *stored = Some(item);
        }
    }

    /// The commit of a state was answered.
    pub(crate) fn confirmed(&self, confirmed: Confirmed) {
        locked(&self.0).confirm(confirmed);
    }

    /// A node shows a row like this.
    pub(crate) fn shows(&self, node: usize, shown: Shown) {
        let mut inner = locked(&self.0);
        let shows = &mut inner.rows.entry(shown.id).or_default().nodes[node];
        let (id, at_ns) = (shown.id, shown.at_ns);
        shows.shown = Some(shown);
        if let Some(delays_ns) = shows.settle() {
            inner.note(id, node, at_ns, &delays_ns);
        }
    }

    /// A node is stopped, or goes on: nobody could see meanwhile what it shows, so that it was late does not count.
    pub(crate) fn excuse(&self, node: usize) {
        locked(&self.0).rows.values_mut().for_each(|row| row.nodes[node].waiting.clear());
    }

    /// A node has ended: it shows nothing to anybody.
    pub(crate) fn forget(&self, node: usize) {
        locked(&self.0).rows.values_mut().for_each(|row| row.nodes[node] = Shows::default());
    }

    /// The delays of a way, up to now.
    pub(crate) fn delays(&self, way: Way, now_ns: i64) -> Delays {
        let inner = locked(&self.0);
        let recent = inner.delays[way.place()].iter().filter(|(at_ns, _)| now_ns - at_ns <= DELAYS_KEPT_NS);
        let millis: Vec<f64> = recent.map(|(_, delay_ns)| millis(*delay_ns)).collect();
        let worst_ms = millis.iter().copied().reduce(f64::max);
        Delays { median_ms: (!millis.is_empty()).then(|| statistics::median(millis)), worst_ms }
    }

    /// The rows as they are; of the nodes, those that serve show something.
    pub(crate) fn lines(&self, serving: [bool; NODES]) -> Vec<Line> {
        let inner = locked(&self.0);
        SHELF.filter_map(|id| inner.rows.get(&id)?.line(serving)).collect()
    }
}

impl Inner {
    fn confirm(&mut self, Confirmed { id, version, at_ns }: Confirmed) {
        let row = self.rows.entry(id).or_default();
        if version <= row.confirmed {
            return;
        }
        let is_first = row.confirmed == 0;
        row.confirmed = version;
        // What was there before anybody looked was committed at some time before.
        let nodes = if is_first { 0..0 } else { 0..NODES };
        for node in nodes {
            let shows = &mut self.rows.entry(id).or_default().nodes[node];
            if shows.shown.is_none() {
                continue;
            }
            shows.waiting.truncate(WAITING_MAX - 1);
            shows.waiting.push_back((version, at_ns));
            if let Some(delays_ns) = shows.settle() {
                self.note(id, node, at_ns, &delays_ns);
            }
        }
    }

    /// Of the first row alone, since exactly of its changes it is known when they were confirmed.
    fn note(&mut self, id: i64, node: usize, at_ns: i64, delays_ns: &[i64]) {
        if id != *SHELF.start() {
            return;
        }
        let delays = &mut self.delays[way_of(node).place()];
        delays.extend(delays_ns.iter().map(|delay_ns| (at_ns, *delay_ns)));
        delays.drain(..delays.len().saturating_sub(DELAYS_MAX));
    }
}

impl Shows {
    /// How long it took until it showed what it had not shown yet, or something newer. `None`: nothing of that kind.
    fn settle(&mut self) -> Option<Vec<i64>> {
        let shown = self.shown.as_ref()?;
        let shows = self.waiting.partition_point(|(version, _)| *version <= shown.version);
        let delays: Vec<i64> =
            self.waiting.drain(..shows).map(|(_, confirmed_ns)| (shown.at_ns - confirmed_ns).max(0)).collect();
        self.delay_ns = Some(*delays.last()?);
        Some(delays)
    }

    /// `stored` is the version that Postgres is shown with.
    fn cell(&self, stored: i64) -> Cell {
        Cell {
            text: self.shown.as_ref().map(|shown| shown.text.clone()),
            behind: self.shown.as_ref().is_some_and(|shown| shown.version < stored),
            delay_ms: self.delay_ns.map(millis),
        }
    }
}

impl Row {
    fn line(&self, serving: [bool; NODES]) -> Option<Line> {
        let item = self.item.clone()?;
        let cell = |(shows, serving): (&Shows, bool)| if serving { shows.cell(item.version) } else { Cell::default() };
        let cells = self.nodes.iter().zip(serving).map(cell).collect();
        Some(Line { item, cells })
    }
}

fn millis(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const BEAT: i64 = *SHELF.start();

    fn shown(version: i64, at_ms: i64) -> Shown {
        Shown { id: BEAT, text: version.to_string(), version, at_ns: at_ms * MS }
    }

    fn stored(version: i64) -> Item {
        Item { id: BEAT, text: version.to_string(), version }
    }

    fn cell(shelf: &Shelf, node: usize) -> Cell {
        shelf.lines([true; NODES])[0].cells[node].clone()
    }

    #[test]
    fn a_node_is_behind_until_it_shows_what_was_committed() {
        let shelf = Shelf::default();
        shelf.stored(0, stored(1));
        shelf.shows(0, shown(1, 5));
        shelf.shows(3, shown(1, 5));
        assert_eq!(cell(&shelf, 0), Cell { text: Some("1".into()), behind: false, delay_ms: None });
        assert_eq!(cell(&shelf, 1).text, None);
        shelf.confirmed(Confirmed { id: BEAT, version: 2, at_ns: 10 * MS });
        shelf.stored(13 * MS, stored(2));
        assert!(cell(&shelf, 0).behind && cell(&shelf, 3).behind);
        shelf.shows(0, shown(2, 11));
        assert_eq!(cell(&shelf, 0), Cell { text: Some("2".into()), behind: false, delay_ms: Some(1.0) });
        shelf.confirmed(Confirmed { id: BEAT, version: 3, at_ns: 20 * MS });
        shelf.shows(3, shown(3, 1010));
        assert_eq!(cell(&shelf, 3).delay_ms, Some(990.0));
        let delays = shelf.delays(Way::Redis, 1010 * MS);
        assert_eq!(
            delays,
            Delays { median_ms: Some(1000.0), worst_ms: Some(1000.0) },
            "the state in between counts, too"
        );
        assert_eq!(shelf.delays(Way::Redis, 20_000 * MS), Delays::default(), "they are of the last seconds");
    }

    #[test]
    fn who_shows_it_before_the_commit_is_answered_took_no_time() {
        let shelf = Shelf::default();
        shelf.stored(0, stored(1));
        shelf.shows(0, shown(1, 1));
        shelf.shows(0, shown(2, 9));
        shelf.confirmed(Confirmed { id: BEAT, version: 2, at_ns: 10 * MS });
        assert_eq!(cell(&shelf, 0), Cell { text: Some("2".into()), behind: false, delay_ms: Some(0.0) });
        shelf.forget(0);
        shelf.confirmed(Confirmed { id: BEAT, version: 3, at_ns: 20 * MS });
        shelf.shows(0, shown(3, 999));
        assert_eq!(cell(&shelf, 0).delay_ms, None, "it did not live then");
        shelf.confirmed(Confirmed { id: BEAT, version: 4, at_ns: 1000 * MS });
        shelf.excuse(0);
        shelf.shows(0, shown(4, 4000));
        assert_eq!(cell(&shelf, 0), Cell { text: Some("4".into()), behind: false, delay_ms: None }, "it was stopped");
        assert_eq!(shelf.lines([false; NODES])[0].cells[0], Cell::default(), "who does not serve shows nothing");
    }
}
