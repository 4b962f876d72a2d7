//! What came out, as a table for people, one for documents, and data.

use super::confirmed::Lost;
use super::contender::{Memory, Round};
use super::kind::Kind;
use super::outside::WRITES_PER_SECOND;
use super::shape::Shape;
use super::tally::{Turn, can_see_beyond};
use cache_sync_kit::statistics::median;
use serde_json::{Value, json};

const COLUMNS: [&str; 12] = [
    "",
    "ops/s",
    "rounds",
    "read p50",
    "read p99",
    "write p50",
    "write p99",
    "statements/op",
    "CPU/op",
    "stale reads",
    "beyond bound",
    "lost writes",
];

/// With fewer writes of the other program than this share of those that were due, a peer had an easier turn than others.
const OUTSIDE_SHARE_MIN: f64 = 0.9;

/// A peer in a shape.
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) bound_ms: Option<f64>,
    /// How long its turns were meant to be.
    pub(super) seconds: f64,
    pub(super) memory: Memory,
    pub(super) rounds: Vec<Round>,
    pub(super) lost: Lost,
}

/// All peers in a shape.
pub(super) struct Table {
    pub(super) shape: Shape,
    pub(super) lines: Vec<Line>,
}

impl Line {
    /// Operations a second, round by round.
    pub(super) fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.turn.operations() / round.turn.seconds).collect()
    }

    /// The median time of a read, round by round.
    pub(super) fn read_us(&self) -> impl Iterator<Item = f64> {
        self.rounds.iter().filter_map(|round| round.turn.read_us[0])
    }

    /// Reads that were staler than its bound. `None`: none was seen, and none might have been, since there is no bound or the turns are too short.
    pub(super) fn beyond(&self) -> Option<u64> {
        let seen = self.sum(|turn| turn.beyond);
        let can_see = self.bound_ms.is_some_and(|bound_ms| can_see_beyond(bound_ms, self.seconds));
        (can_see || seen > 0).then_some(seen)
    }

    fn sum(&self, of: impl Fn(&Turn) -> u64) -> u64 {
        self.rounds.iter().map(|round| of(&round.turn)).sum()
    }

    /// The median of the rounds in which there is such a figure.
    fn median(&self, of: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.rounds.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| median(values))
    }

    /// The median of what there is in a round for each operation.
    fn each(&self, of: impl Fn(&Round) -> f64) -> Option<f64> {
        self.median(|round| Some(of(round) / round.turn.operations()))
    }

    /// Operations a second.
    pub(super) fn rate(&self) -> String {
        thousands(median(self.rates()))
    }

    pub(super) fn read_median(&self) -> String {
        self.median(|round| round.turn.read_us[0]).map_or("-".to_owned(), microseconds)
    }

    /// Statements at Postgres for each operation.
    pub(super) fn statements(&self) -> String {
        self.each(|round| round.statements).map_or("-".to_owned(), |each| format!("{each:.4}"))
    }

    /// How many reads were stale, and by how much.
    pub(super) fn staleness(&self) -> String {
        self.stale(|stale| thousands(stale as f64))
    }

    /// Which share of the reads that was.
    pub(super) fn stale_share(&self) -> String {
        self.stale(|stale| percent(stale as f64 / self.sum(|turn| turn.reads) as f64))
    }

    fn stale(&self, amount: impl Fn(u64) -> String) -> String {
        let oldest_ms = self.rounds.iter().map(|round| round.turn.oldest_ms).fold(0.0, f64::max);
        match self.sum(|turn| turn.stale) {
            0 => "0".to_owned(),
            stale => format!("{} (oldest {})", amount(stale), milliseconds(oldest_ms)),
        }
    }

    /// How often the other program wrote, a second.
    fn outside(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.turn.outside as f64 / self.seconds).collect())
    }

    /// Writes that were confirmed and are not there, or twice.
    pub(super) fn lost(&self) -> String {
        thousands(self.lost.wrong() as f64)
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let rates = self.rates();
        let (low, high) = rates.iter().fold((f64::INFINITY, 0.0), |(low, high), rate| (rate.min(low), rate.max(high)));
        let us = |of: &dyn Fn(&Round) -> Option<f64>| self.median(of).map_or("-".to_owned(), microseconds);
        [
            self.kind.title().to_owned(),
            self.rate(),
            format!("{}..{}", thousands(low), thousands(high)),
            self.read_median(),
            us(&|round| round.turn.read_us[1]),
            us(&|round| round.turn.write_us[0]),
            us(&|round| round.turn.write_us[1]),
            self.statements(),
            self.each(|round| round.cpu_seconds).map_or("-".to_owned(), |each| microseconds(each * 1e6)),
            self.staleness(),
            format!(
                "{} ({})",
                self.beyond().map_or("-".to_owned(), |beyond| thousands(beyond as f64)),
                self.bound_ms.map_or("none".to_owned(), milliseconds)
            ),
            self.lost(),
        ]
    }

    fn json(&self) -> Value {
        let rounds = self
            .rounds
            .iter()
            .map(|round| json!({"turn": round.turn, "statements": round.statements, "cpu_seconds": round.cpu_seconds}));
        json!({"peer": self.kind.name(), "bound_ms": self.bound_ms, "beyond": self.beyond(), "rounds": rounds.collect::<Value>(),
               "node_bytes": self.memory.nodes, "redis_bytes": self.memory.redis, "lost": self.lost})
    }
}

impl Table {
    pub(super) fn print(&self) {
        println!("\n{}: {}", self.shape.name(), self.shape.description());
        let rows: Vec<_> = self.rows().collect();
        print(&rows);
        self.outside().iter().for_each(|outside| println!("{outside}"));
    }

    /// The same for a document.
    pub(super) fn markdown(&self) -> String {
        let rows: Vec<_> = self.rows().collect();
        let outside = self.outside().map(|outside| format!("\n{outside}\n")).unwrap_or_default();
        format!("**{}**: {}\n\n{}{outside}", self.shape.name(), self.shape.description(), markdown(&rows))
    }

    /// How often the other program wrote beside each, where there is one.
    fn outside(&self) -> Option<String> {
        let each = self.lines.iter().map(|line| {
            let is_little = line.outside() < OUTSIDE_SHARE_MIN * WRITES_PER_SECOND;
            let note = if is_little { " (fewer than due: its reads met fewer changes)" } else { "" };
            format!("{} {}{note}", line.kind.title(), thousands(line.outside()))
        });
        let each = || each.collect::<Vec<_>>().join("; ");
        (self.shape == Shape::Sql)
            .then(|| format!("Writes a second of the other program, of {WRITES_PER_SECOND}: {}.", each()))
    }

    fn rows(&self) -> impl Iterator<Item = [String; COLUMNS.len()]> {
        std::iter::once(COLUMNS.map(str::to_owned)).chain(self.lines.iter().map(Line::cells))
    }

    pub(super) fn json(&self) -> Value {
        json!({"shape": self.shape.name(), "description": self.shape.description(),
               "peers": self.lines.iter().map(Line::json).collect::<Value>()})
    }
}

/// How much memory a row takes that is held, of several tables of the same peers.
pub(super) struct MemoryTable(Vec<[String; 4]>);

impl MemoryTable {
    pub(super) fn new(tables: &[Table], rows: u64) -> MemoryTable {
        let title = ["", "a node", "Redis", "bytes of a node for each row"].map(str::to_owned);
        let lines = Kind::ALL.into_iter().map(|kind| {
            let of = |bytes: &dyn Fn(Memory) -> i64| {
                let lines = tables.iter().flat_map(|table| &table.lines).filter(|line| line.kind == kind);
                median(lines.map(|line| bytes(line.memory) as f64).collect())
            };
            let (node, redis) = (of(&|memory| memory.nodes) / 2.0, of(&|memory| memory.redis));
            let redis = if kind.needs_redis() { megabytes(redis) } else { "-".to_owned() };
            [kind.title().to_owned(), megabytes(node), redis, thousands(node / rows as f64)]
        });
        MemoryTable(std::iter::once(title).chain(lines).collect())
    }

    pub(super) fn print(&self) {
        println!("\nmemory that processes take once a node has read all rows");
        print(&self.0);
    }

    /// The same for a document.
    pub(super) fn markdown(&self) -> String {
        format!("**memory** that processes take once a node has read all rows\n\n{}", markdown(&self.0))
    }
}

pub(super) fn print<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = width(0)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
}

/// The first row is the head.
pub(super) fn markdown<const N: usize>(rows: &[[String; N]]) -> String {
    let mut lines: Vec<String> = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    lines.insert(1, format!("| --- |{}\n", " ---: |".repeat(N - 1)));
    lines.concat()
}

/// A number that people can read.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

fn microseconds(us: f64) -> String {
    match us {
        0.0..1.0 => format!("{:.0} ns", us * 1e3),
        1.0..10.0 => format!("{us:.1} us"),
        _ => format!("{} us", thousands(us)),
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        small @ 0.0..0.1 => format!("{small:.4} %"),
        percent => format!("{percent:.1} %"),
    }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

fn milliseconds(ms: f64) -> String {
    match ms {
        0.0..1000.0 => format!("{ms:.0} ms"),
        1000.0..10_000.0 => format!("{:.1} s", ms / 1000.0),
        _ => format!("{:.0} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::Tally;
    use super::*;

    /// Turns of a second, of a peer that states that its reads are at most half an hour old.
    fn line(turns: &[Turn]) -> Line {
        let round = |turn: &Turn| Round { turn: turn.clone(), statements: 0.0, cpu_seconds: 0.0 };
        let (memory, lost, rounds) = (Memory::default(), Lost::default(), turns.iter().map(round).collect());
        Line { kind: Kind::Ours, bound_ms: Some(1_800_000.0), seconds: 1.0, memory, rounds, lost }
    }

    fn nothing() -> Turn {
        Tally::default().turn(1.0, Default::default())
    }

    #[test]
    fn what_was_seen_beyond_the_bound_is_told_also_where_it_was_not_sure_to_be_seen() {
        assert_eq!(line(&[nothing(), nothing()]).beyond(), None);
        let seen = line(&[nothing(), Turn { beyond: 2, ..nothing() }]);
        assert_eq!((seen.beyond(), seen.cells()[10].as_str()), (Some(2), "2 (1800 s)"));
        assert_eq!(line(&[nothing()]).cells()[10], "- (1800 s)");
        assert_eq!(Line { bound_ms: Some(300.0), ..line(&[nothing()]) }.beyond(), Some(0));
        assert_eq!(Line { bound_ms: None, ..line(&[nothing()]) }.beyond(), None);
    }

    #[test]
    fn stale_reads_are_a_share_of_all() {
        let turns =
            [(0, 0.0), (30, 2500.0)].map(|(stale, oldest_ms)| Turn { reads: 500, stale, oldest_ms, ..nothing() });
        assert_eq!(line(&turns).stale_share(), "3.0 % (oldest 2.5 s)");
        assert_eq!(
            (line(&turns).staleness().as_str(), line(&turns[..1]).stale_share().as_str()),
            ("30 (oldest 2.5 s)", "0")
        );
        assert_eq!([0.000_012, 0.000_999, 0.001, 1.0].map(percent), ["0.0012 %", "0.0999 %", "0.1 %", "100.0 %"]);
    }

    #[test]
    fn whoever_met_fewer_writes_of_the_other_program_is_named() {
        let lines = |outside| vec![line(&[Turn { outside, ..nothing() }])];
        let told = |shape, outside| Table { shape, lines: lines(outside) }.outside();
        assert_eq!(told(Shape::A, 0), None);
        let text = |note| Some(format!("Writes a second of the other program, of 500: cache_sync {note}."));
        assert_eq!(told(Shape::Sql, 450), text("450"));
        assert_eq!(told(Shape::Sql, 449), text("449 (fewer than due: its reads met fewer changes)"));
    }

    #[test]
    fn a_document_has_a_head_above_its_rows() {
        let rows = [["", "n"], ["a", "1"], ["b", "2"]].map(|row| row.map(str::to_owned));
        assert_eq!(markdown(&rows), "|  | n |\n| --- | ---: |\n| a | 1 |\n| b | 2 |\n");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0.0, 999.4, 1000.0, 1_234_567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.083, 2.5, 1234.5].map(microseconds), ["83 ns", "2.5 us", "1,234 us"]);
        assert_eq!([12.3, 3000.0, 300_000.0].map(milliseconds), ["12 ms", "3.0 s", "300 s"]);
    }
}
