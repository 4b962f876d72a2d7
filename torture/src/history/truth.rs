//! What the database itself says, read while all is quiet.

use super::event::{COLUMNS, Home, Nanos};
use std::collections::{BTreeMap, HashMap};

/// Everything that is known without the histories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    /// The moment of quiet before: what stood then had been heard by everybody.
    pub(crate) since: Nanos,
    /// Rows of numbers, by table and key.
    pub(crate) rows: BTreeMap<(Home, i32), Sums>,
    /// Items, by key.
    pub(crate) items: BTreeMap<i32, Chain>,
    /// What the name that is swapped meant.
    pub(crate) names: Chain,
    /// A key's group is its remainder by this.
    pub(crate) groups: i32,
}

/// A row of numbers at the moment of quiet before, and at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) before: [i64; COLUMNS],
    pub(crate) after: [i64; COLUMNS],
}

/// One state of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) state: Option<i64>,
    /// Of the write that made it.
    pub(crate) name: Option<i64>,
}

/// The states of one key in their true order. The first is that of the moment of quiet before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    links: Vec<Link>,
    by_name: HashMap<i64, usize>,
}

impl Chain {
    pub(crate) fn new(first: Option<i64>) -> Chain {
        let mut chain = Chain::default();
        chain.push(Link { state: first, name: None });
        chain
    }

    pub(crate) fn push(&mut self, link: Link) {
        if let Some(name) = link.name.or(link.state) {
            self.by_name.insert(name, self.links.len());
        }
        self.links.push(link);
    }

    /// Where the write of this name stands.
    pub(crate) fn place(&self, name: i64) -> Option<usize> {
        self.by_name.get(&name).copied()
    }

    /// The first place from `from` on with this state.
    pub(crate) fn next(&self, state: Option<i64>, from: usize) -> Option<usize> {
        (from..self.links.len()).find(|place| self.links[*place].state == state)
    }

    pub(crate) fn last(&self) -> Option<i64> {
        self.links.last().and_then(|link| link.state)
    }
}
