//! Keys whose states follow each other in a line, which an ordinary trigger of the database writes down in the transaction of the change
//! itself: rows are overwritten, deleted and made anew.

use super::event::{Call, Event, Fate, History, ItemWrite, Nanos};
use super::line::Line;
use super::truth::{Chain, Truth};
use super::verdict::{Rule, Violation};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// What was done to one key.
#[derive(Default)]
struct Writes<'h> {
    all: Vec<(u32, &'h ItemWrite)>,
    /// By when which place in the line was confirmed.
    confirmed: Line,
}

/// What a read showed of one key.
#[derive(Clone, Copy)]
struct Seen<'h> {
    call: Call,
    id: i32,
    state: Option<i64>,
    event: &'h Event,
}

/// Who reads: his reads never go back.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Reader {
    process: u32,
    opening: u32,
    id: i32,
    is_query: bool,
}

struct Checking<'h> {
    bound: Nanos,
    truth: &'h Truth,
    writes: HashMap<i32, Writes<'h>>,
    found: Vec<Violation>,
}

pub(super) fn check(bound: Nanos, truth: &Truth, histories: &[History]) -> Vec<Violation> {
    let mut writes: HashMap<i32, Writes<'_>> = HashMap::new();
    let mut readers: HashMap<Reader, Vec<Seen<'_>>> = HashMap::new();
    for history in histories {
        for event in &history.events {
            if let Event::Wrote(write) = event {
                writes.entry(write.id).or_default().all.push((history.process, write));
            }
            for seen in seen(truth, event) {
                let (opening, is_query) = (seen.call.opening, matches!(event, Event::Items { .. }));
                let reader = Reader { process: history.process, opening, id: seen.id, is_query };
                readers.entry(reader).or_default().push(seen);
            }
        }
    }
    for (id, writes) in &mut writes {
        let Some(chain) = truth.items.get(id) else { continue };
        let confirmed = writes.all.iter().filter(|(_, write)| write.written.fate == Fate::Written);
        let places = confirmed.filter_map(|(_, write)| Some((write.written.span.ended, place(chain, write)? as i64)));
        writes.confirmed = Line::maxima(places.collect());
    }
    let mut checking = Checking { bound, truth, writes, found: Vec::new() };
    for (reader, reads) in readers {
        checking.check_reads(reader, reads);
    }
    checking.found
}

/// Where a write stands in its key's line. Deletions by the SDK have no name there.
fn place(chain: &Chain, write: &ItemWrite) -> Option<usize> {
    chain.place(write.name.or(write.state)?)
}

fn seen<'h>(truth: &Truth, event: &'h Event) -> Vec<Seen<'h>> {
    match event {
        Event::Item { call, id, state } => vec![Seen { call: *call, id: *id, state: *state, event }],
        Event::Items { call, group, states } => {
            let ids = truth.items.keys().filter(|id| *id % truth.groups == *group);
            let state = |id: i32| states.iter().find(|(of, _)| *of == id).map(|(_, state)| *state);
            ids.map(|id| Seen { call: *call, id: *id, state: state(*id), event }).collect()
        }
        _ => Vec::new(),
    }
}

impl<'h> Checking<'h> {
    fn check_reads(&mut self, reader: Reader, mut reads: Vec<Seen<'h>>) {
        let truth = self.truth;
        let Some(chain) = truth.items.get(&reader.id) else { return };
        reads.sort_by_key(|read| read.call.span.begun);
        // Reads whose place is known, by when they ended; and the furthest of those that ended before the one that is looked at.
        let mut under_way = BinaryHeap::new();
        let mut floor: (usize, Option<Seen<'h>>) = (0, None);
        for (number, read) in reads.iter().enumerate() {
            while let Some(Reverse((ended, place, of))) = under_way.peek().copied() {
                if ended >= read.call.span.begun {
                    break;
                }
                under_way.pop();
                if place > floor.0 {
                    floor = (place, Some(reads[of]));
                }
            }
            if read.call.is_stale || self.is_own_pending(reader, read) {
                continue;
            }
            match self.place_of(reader, chain, read, floor) {
                Ok(place) => under_way.push(Reverse((read.call.span.ended, place, number))),
                Err(violation) => self.found.push(*violation),
            }
        }
    }

    /// The earliest place in the line that the read can have shown.
    fn place_of(
        &self,
        reader: Reader,
        chain: &Chain,
        read: &Seen<'h>,
        floor: (usize, Option<Seen<'h>>),
    ) -> Result<usize, Box<Violation>> {
        let begun = read.call.span.begun;
        let broken = |rule, what: String| Violation::new(rule, what).with(begun, read.event);
        if chain.next(read.state, 0).is_none() {
            let what = format!("key {} never was {:?}", read.id, read.state);
            return Err(Box::new(broken(Rule::OutOfNowhere, what)));
        }
        let mut least = 0;
        let horizons = [(Rule::Bound, begun - self.bound), (Rule::CaughtUp, read.call.caught_up)];
        for (rule, at) in horizons {
            let confirmed = self.writes.get(&read.id).and_then(|writes| writes.confirmed.before(at)).unwrap_or(0);
            least = least.max(confirmed as usize);
            if chain.next(read.state, least).is_none() {
                let what = format!("key {} was {:?} until another state of it was confirmed", read.id, read.state);
                return Err(Box::new(self.proven(broken(rule, what), read.id, at)));
            }
        }
        if let Some((own, write)) = self.own_place(reader, chain, read) {
            least = least.max(own);
            if chain.next(read.state, least).is_none() {
                let what = format!("key {} shows a state from before the process's own write", read.id);
                return Err(Box::new(broken(Rule::OwnWrites, what).with(write.written.span.begun, write)));
            }
        }
        chain.next(read.state, least.max(floor.0)).ok_or_else(|| {
            let violation = broken(Rule::Monotone, format!("key {} goes back to {:?}", read.id, read.state));
            let earlier = floor.1.map(|earlier| (earlier.call.span.ended, earlier.event));
            Box::new(earlier.into_iter().fold(violation, |violation, (at, event)| violation.with(at, event)))
        })
    }

    fn proven(&self, violation: Violation, id: i32, at: Nanos) -> Violation {
        let confirmed =
            |(_, write): &&(u32, &ItemWrite)| write.written.fate == Fate::Written && write.written.span.ended < at;
        let writes = self.writes.get(&id).into_iter().flat_map(|writes| &writes.all);
        match writes.filter(confirmed).max_by_key(|(_, write)| write.written.span.ended) {
            Some((process, write)) => violation.with(write.written.span.ended, (process, write)),
            None => violation,
        }
    }

    fn own<'w>(&'w self, reader: Reader) -> impl Iterator<Item = &'h ItemWrite> + 'w {
        let of_key = self.writes.get(&reader.id).into_iter().flat_map(|writes| writes.all.iter());
        let is_own =
            move |process: u32, write: &ItemWrite| process == reader.process && write.written.opening == reader.opening;
        of_key.filter(move |(process, write)| !reader.is_query && is_own(*process, write)).map(|(_, write)| *write)
    }

    /// What the process has written itself and not heard of yet: it sees that, whatever others do meanwhile.
    fn is_own_pending(&self, reader: Reader, read: &Seen<'_>) -> bool {
        let span = read.call.span;
        let is_pending = |write: &ItemWrite| match write.written.fate {
            Fate::Written | Fate::Refused => write.written.span.ended >= span.begun,
            // Its call was given up, or its fate is lost: it may have been under way for any time.
            Fate::Unknown | Fate::Unheard => true,
        };
        let is_over = |write: &ItemWrite| {
            let later = |other: &ItemWrite| other.written.span.begun > write.written.span.begun;
            let stands = |other: &ItemWrite| matches!(other.written.fate, Fate::Written | Fate::Unheard);
            let accepted = |other: &ItemWrite| other.written.accepted.is_some_and(|at| at < span.begun);
            self.own(reader).any(|other| later(other) && stands(other) && accepted(other))
        };
        self.own(reader).any(|write| {
            write.state == read.state && write.written.span.begun < span.ended && is_pending(write) && !is_over(write)
        })
    }

    /// The furthest place of what the process had written before.
    fn own_place(&self, reader: Reader, chain: &Chain, read: &Seen<'_>) -> Option<(usize, &'h ItemWrite)> {
        let accepted = |write: &&ItemWrite| write.written.accepted.is_some_and(|at| at < read.call.span.begun);
        self.own(reader)
            .filter(accepted)
            .filter_map(|write| Some((place(chain, write)?, write)))
            .max_by_key(|(place, _)| *place)
    }
}
