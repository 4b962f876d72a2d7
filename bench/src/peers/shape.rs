//! What is done with the rows: the core workloads of YCSB but for its scans, and three more.

use cache_sync_kit::Dice;

/// A mix of reads and writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As many writes as reads.
    A,
    /// Few writes.
    B,
    /// Reads only.
    C,
    /// Reads only, one at a time.
    One,
    /// Few inserts, and reads of the latest.
    D,
    /// As many writes as reads, each of what was computed from a read.
    F,
    /// The same, where Postgres computes.
    Add,
    /// Reads only, while another program writes by SQL.
    Sql,
}

/// What is done next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Read,
    Field,
    Insert,
    CountFrom,
    Count,
}

impl Shape {
    pub(crate) const ALL: [Shape; 8] =
        [Shape::A, Shape::B, Shape::C, Shape::One, Shape::D, Shape::F, Shape::Add, Shape::Sql];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::A => "A",
            Shape::B => "B",
            Shape::C => "C",
            Shape::One => "one",
            Shape::D => "D",
            Shape::F => "F",
            Shape::Add => "add",
            Shape::Sql => "sql",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Shape> {
        Shape::ALL.into_iter().find(|shape| shape.name() == name)
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Shape::A => "half reads, half writes of a field",
            Shape::B => "95 % reads, 5 % writes of a field",
            Shape::C => "reads only",
            Shape::One => "reads only, one after the other on one node",
            Shape::D => "95 % reads, mostly of the latest rows, 5 % inserts",
            Shape::F => {
                "half reads, half read-modify-write: a counter becomes what was read, plus one; of cache_sync, what is held, plus one by a rule that adds"
            }
            Shape::Add => "half reads, half additions: Postgres adds one to a counter",
            Shape::Sql => "reads only, while another program writes fields by SQL",
        }
    }

    /// Which share of its operations are not reads of a single row.
    fn percent_of_writes(self) -> u64 {
        match self {
            Shape::A | Shape::F | Shape::Add => 50,
            Shape::B | Shape::D => 5,
            Shape::C | Shape::One | Shape::Sql => 0,
        }
    }

    pub(super) fn draw(self, dice: &mut Dice) -> Op {
        if dice.below(100) >= self.percent_of_writes() {
            return Op::Read;
        }
        match self {
            Shape::D => Op::Insert,
            Shape::F => Op::CountFrom,
            Shape::Add => Op::Count,
            Shape::A | Shape::B | Shape::C | Shape::One | Shape::Sql => Op::Field,
        }
    }
}
