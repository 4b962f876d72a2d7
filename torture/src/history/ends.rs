//! When all is quiet: what is held is what is stored, every receipt has ended, and nothing is left in the buffers.

use super::event::{Add, Event, Fate, History, ItemWrite};
use super::truth::Truth;
use super::verdict::{Rule, Violation};

pub(super) fn check(truth: &Truth, histories: &[History]) -> Vec<Violation> {
    let all = histories.iter().flat_map(|history| history.events.iter().map(|event| (history.process, event)));
    all.filter_map(|(process, event)| check_event(truth, event).map(|violation| violation.with(0, process))).collect()
}

fn check_event(truth: &Truth, event: &Event) -> Option<Violation> {
    let differs = |what: String| Some(Violation::new(Rule::Converged, what).with(0, event));
    match event {
        Event::HeldRow { home, id, values } => {
            let stored = truth.rows.get(&(*home, *id)).map(|row| row.after);
            if stored == Some(*values) { None } else { differs(format!("the row is {stored:?}")) }
        }
        Event::HeldItem { id, state } => {
            let stored = truth.items.get(id).and_then(|chain| chain.last());
            if stored == *state { None } else { differs(format!("the row is {stored:?}")) }
        }
        Event::Left { unheard: 0, buffered: 0 } => None,
        Event::Left { unheard: 0, .. } => differs("the buffer is not empty".to_owned()),
        Event::Left { .. } => Some(Violation::new(Rule::Ends, "writes have no outcome").with(0, event)),
        Event::Added(Add { written, .. }) | Event::Wrote(ItemWrite { written, .. })
            if written.fate == Fate::Unheard =>
        {
            Some(Violation::new(Rule::Ends, "a receipt does not end").with(written.span.begun, event))
        }
        _ => None,
    }
}
