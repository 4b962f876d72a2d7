//! What a node's log says about its writes.

use std::collections::HashMap;
use std::path::Path;

use cache_sync_kit::Result;

use crate::lines;

/// The writes of one life of a node. Each adds 1.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) intents: u64,
    pub(crate) accepted: u64,
    /// Outcomes that say the change stands in the row.
    pub(crate) written: u64,
    /// Outcomes that say it does not.
    pub(crate) not_written: u64,
    /// Intents that were neither refused nor have an outcome: they may stand in the row.
    pub(crate) open: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

impl Ledger {
    pub(crate) fn read(log: &Path) -> Result<Ledger> {
        Ledger::of(&std::fs::read_to_string(log)?)
    }

    fn of(text: &str) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        let mut ops: HashMap<&str, State> = HashMap::new();
        for line in lines::whole(text) {
            let words: Vec<&str> = line.split(' ').collect();
            let state = match words[..] {
                ["intent", _, _] => {
                    ledger.intents += 1;
                    State::Open
                }
                ["accepted", _] => {
                    ledger.accepted += 1;
                    continue;
                }
                ["refused", _] => State::Closed,
                ["outcome", _, "written", ..] => {
                    ledger.written += 1;
                    State::Closed
                }
                ["outcome", _, "not-written", ..] => {
                    ledger.not_written += 1;
                    State::Closed
                }
                _ => return Err(format!("a node's log says `{line}`").into()),
            };
            ops.insert(words[1], state);
        }
        ledger.open = ops.values().filter(|state| **state == State::Open).count() as u64;
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_open_and_ignores_a_torn_line() {
        let log = "intent 0 7\naccepted 0\nintent 1 8\noutcome 0 written Applied\nintent 2 9\nrefused 2\n\
                   intent 3 1\naccepted 3\noutcome 3 not-written Rejected\nintent 4 5\naccepted 4\noutcome 4 wri";
        let ledger = Ledger { intents: 5, accepted: 3, written: 1, not_written: 1, open: 2 };
        assert_eq!(Ledger::of(log).unwrap(), ledger);
        assert!(Ledger::of("nonsense\n").is_err());
    }
}
