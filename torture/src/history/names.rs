//! A name that means one table and then another. A cache is of the table that it was opened on: it never shows rows of another, and once
//! the name means another for longer than the bound it shows none at all.

use super::event::{Call, Event, Fate, History, Home, Nanos};
use super::line::Line;
use super::truth::Truth;
use super::verdict::{Rule, Violation};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The table that has its name for good.
const KEPT: Home = 0;

pub(super) fn check(bound: Nanos, truth: &Truth, histories: &[History]) -> Vec<Violation> {
    let mut found = Vec::new();
    let names = histories.iter().flat_map(|history| &history.events);
    let confirmed: Vec<(Nanos, i64, &Event)> = names
        .filter_map(|event| match event {
            Event::Named { name, written } if written.fate == Fate::Written => {
                Some((written.span.ended, truth.names.place(*name)? as i64, event))
            }
            _ => None,
        })
        .collect();
    let line = Line::maxima(confirmed.iter().map(|(at, place, _)| (*at, *place)).collect());
    for history in histories {
        let mut opened: HashMap<u32, (Home, Nanos, &Event)> = HashMap::new();
        for event in &history.events {
            let Some((call, home, is_query)) = shown(event).filter(|(_, home, _)| *home != KEPT) else { continue };
            if !is_query {
                match opened.entry(call.opening) {
                    Entry::Vacant(vacant) => drop(vacant.insert((home, call.span.begun, event))),
                    Entry::Occupied(first) if first.get().0 != home => {
                        let what = "one opening of a cache shows rows of two tables";
                        let violation = Violation::new(Rule::OneTable, what).with(call.span.begun, event);
                        found.push(violation.with(first.get().1, first.get().2));
                    }
                    Entry::Occupied(_) => {}
                }
            }
            if call.is_stale {
                continue;
            }
            let least = line.before(call.span.begun - bound).unwrap_or(0);
            if truth.names.next(Some(i64::from(home)), least as usize).is_none() {
                let what = format!(
                    "rows of table {home} are shown though the name has meant another for longer than the bound"
                );
                let violation = Violation::new(Rule::OneTable, what).with(call.span.begun, event);
                let since = confirmed.iter().find(|(_, place, _)| *place == least);
                found.push(since.into_iter().fold(violation, |violation, (at, _, event)| violation.with(*at, event)));
            }
        }
    }
    found
}

/// What shows rows of which table, and whether a query does.
fn shown(event: &Event) -> Option<(Call, Home, bool)> {
    match event {
        Event::Row { call, home, .. } => Some((*call, *home, false)),
        Event::Sum { call, home, .. } => Some((*call, *home, true)),
        _ => None,
    }
}
