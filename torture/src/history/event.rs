//! What processes write down: one line a call.

use serde::{Deserialize, Serialize};

/// CLOCK_MONOTONIC in nanoseconds: the one clock of all processes of the machine.
pub(crate) type Nanos = i64;

/// A row's numbers: those of the plain writers, and one for each node that adds.
pub(crate) const COLUMNS: usize = 5;

/// A table by what it is, whatever its name is at the time: 0 is the table that keeps its name, the others swap theirs.
pub(crate) type Home = i32;
pub(crate) const HOMES: Home = 3;

/// What one process did, in the order in which it was done with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) process: u32,
    pub(crate) events: Vec<Event>,
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) begun: Nanos,
    pub(crate) ended: Nanos,
}

/// A read that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) span: Span,
    /// When the last `catch_up` began that had succeeded before the read began; 0: none.
    pub(crate) caught_up: Nanos,
    /// It was said to be in doubt.
    pub(crate) is_stale: bool,
    /// Through which opening of its cache; of queries, which of several questions for the same.
    pub(crate) opening: u32,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// Confirmed to be committed.
    Written,
    /// Certainly not.
    Refused,
    /// Nobody can tell.
    Unknown,
    /// Nothing was heard of it though all is quiet.
    Unheard,
}

/// When a write was made, and when its fate was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) span: Span,
    /// When the SDK had accepted it: from then on its own process must see it. Plain writers have no such moment.
    pub(crate) accepted: Option<Nanos>,
    pub(crate) fate: Fate,
    pub(crate) opening: u32,
}

/// A number that grew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Add {
    pub(crate) home: Home,
    pub(crate) id: i32,
    pub(crate) column: usize,
    pub(crate) amount: i64,
    /// What the writer was told that it is now.
    pub(crate) after: Option<i64>,
    pub(crate) written: Written,
}

/// A state that was written; states are numbers, each used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ItemWrite {
    pub(crate) id: i32,
    /// `None`: deleted.
    pub(crate) state: Option<i64>,
    /// By what the write is known in the database's own line of states.
    pub(crate) name: Option<i64>,
    pub(crate) written: Written,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A row of numbers was read.
    Row {
        call: Call,
        home: Home,
        id: i32,
        values: [i64; COLUMNS],
    },
    /// A query summed up a group.
    Sum {
        call: Call,
        home: Home,
        group: i32,
        rows: i64,
        values: [i64; 2],
    },
    /// A state was read; `None`: there is no such row.
    Item {
        call: Call,
        id: i32,
        state: Option<i64>,
    },
    /// A query listed the states of a group.
    Items {
        call: Call,
        group: i32,
        states: Vec<(i32, i64)>,
    },
    Added(Add),
    Wrote(ItemWrite),
    /// Two tables changed names at some moment of the span; the database says what the name means since.
    Named {
        name: i64,
        written: Written,
    },
    /// At the end a cache held this row.
    HeldRow {
        home: Home,
        id: i32,
        values: [i64; COLUMNS],
    },
    /// At the end a cache held this state.
    HeldItem {
        id: i32,
        state: Option<i64>,
    },
    /// At the end so many writes had no receipt that ended, and so many lay in the buffer.
    Left {
        unheard: u64,
        buffered: u64,
    },
}
