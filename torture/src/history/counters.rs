//! Numbers that only grow: each writer adds, and nobody takes away. So a larger number is a later state, and a sum says which writes are
//! in it. The same holds of the sum over a group, which queries ask for.

use super::event::{Add, COLUMNS, Call, Event, Fate, History, Home, Nanos};
use super::line::Line;
use super::truth::{Sums, Truth};
use super::verdict::{Rule, Violation};
use std::collections::{BTreeSet, HashMap};

/// More sums than this of writes with unknown fate are not told apart.
const SUMS_MAX: usize = 1 << 14;

/// One number of one row.
type Number = (Home, i32, usize);

/// What is known of a number.
#[derive(Default)]
struct Growth {
    adds: Vec<(u32, Add)>,
    confirmed: Line,
    told: Line,
    begun: Line,
    /// By process and opening.
    accepted: HashMap<(u32, u32), Line>,
}

impl Growth {
    fn finish(&mut self) {
        let adds = &self.adds;
        let of = |fates: &[Fate], at: fn(&Add) -> Option<Nanos>| {
            let chosen = adds.iter().filter(|(_, add)| fates.contains(&add.written.fate));
            chosen.filter_map(|(_, add)| at(add).map(|at| (at, add.amount))).collect()
        };
        self.confirmed = Line::sums(of(&[Fate::Written], |add| Some(add.written.span.ended)));
        let all = [Fate::Written, Fate::Refused, Fate::Unknown, Fate::Unheard];
        self.begun = Line::sums(of(&all, |add| Some(add.written.span.begun)));
        let told = adds.iter().filter(|(_, add)| add.written.fate == Fate::Written);
        self.told = Line::maxima(told.filter_map(|(_, add)| Some((add.written.span.ended, add.after?))).collect());
        let mut accepted: HashMap<_, Vec<_>> = HashMap::new();
        for (process, add) in adds.iter().filter(|(_, add)| matches!(add.written.fate, Fate::Written | Fate::Unheard)) {
            if let Some(at) = add.written.accepted {
                accepted.entry((*process, add.written.opening)).or_default().push((at, add.amount));
            }
        }
        self.accepted = accepted.into_iter().map(|(own, adds)| (own, Line::sums(adds))).collect();
    }

    /// What was confirmed before `at`.
    fn least(&self, at: Nanos, before: i64) -> i64 {
        let confirmed = before + self.confirmed.before(at).unwrap_or(0);
        confirmed.max(self.told.before(at).unwrap_or(confirmed))
    }

    /// The write that was confirmed before `at`, the latest of them.
    fn latest(&self, at: Nanos) -> Option<&(u32, Add)> {
        let confirmed = |(_, add): &&(u32, Add)| add.written.fate == Fate::Written && add.written.span.ended < at;
        self.adds.iter().filter(confirmed).max_by_key(|(_, add)| add.written.span.ended)
    }
}

/// What a read showed of a number, or of the sum of several.
struct Seen<'h> {
    process: u32,
    call: Call,
    event: &'h Event,
    numbers: Vec<Number>,
    value: i64,
    is_query: bool,
}

struct Checking<'h> {
    bound: Nanos,
    truth: &'h Truth,
    growths: HashMap<Number, Growth>,
    found: Vec<Violation>,
}

pub(super) fn check(bound: Nanos, truth: &Truth, histories: &[History]) -> Vec<Violation> {
    let mut growths: HashMap<Number, Growth> = HashMap::new();
    for (process, add) in histories.iter().flat_map(adds) {
        growths.entry((add.home, add.id, add.column)).or_default().adds.push((process, *add));
    }
    growths.values_mut().for_each(Growth::finish);
    let mut checking = Checking { bound, truth, growths, found: Vec::new() };
    let seen: Vec<Seen<'_>> = histories.iter().flat_map(|history| checking.seen(history)).collect();
    let mut readers: HashMap<_, Vec<&Seen<'_>>> = HashMap::new();
    for read in &seen {
        checking.check_read(read);
        let reader = (read.process, read.call.opening, read.is_query, read.numbers.clone());
        readers.entry(reader).or_default().push(read);
    }
    for reads in readers.values() {
        checking.check_order(reads);
    }
    checking.check_sums();
    checking.found
}

fn adds(history: &History) -> impl Iterator<Item = (u32, &Add)> {
    history.events.iter().filter_map(|event| match event {
        Event::Added(add) => Some((history.process, add)),
        _ => None,
    })
}

impl Checking<'_> {
    fn seen<'h>(&mut self, history: &'h History) -> Vec<Seen<'h>> {
        let mut seen = Vec::new();
        let process = history.process;
        for event in &history.events {
            match event {
                Event::Row { call, home, id, values } => {
                    for (column, value) in values.iter().enumerate() {
                        let numbers = vec![(*home, *id, column)];
                        seen.push(Seen { process, call: *call, event, numbers, value: *value, is_query: false });
                    }
                }
                Event::Sum { call, home, group, rows, values } => {
                    let keys = self.truth.rows.keys();
                    let keys: Vec<_> = keys.filter(|(of, id)| of == home && id % self.truth.groups == *group).collect();
                    if keys.len() as i64 != *rows {
                        let what = format!("a query found {rows} rows where there are {}", keys.len());
                        self.found.push(Violation::new(Rule::OutOfNowhere, what).with(call.span.begun, event));
                    }
                    for (columns, value) in [(0..1, values[0]), (1..COLUMNS, values[1])] {
                        let of_columns =
                            columns.flat_map(|column| keys.iter().map(move |(home, id)| (*home, *id, column)));
                        let numbers = of_columns.collect();
                        seen.push(Seen { process, call: *call, event, numbers, value, is_query: true });
                    }
                }
                _ => {}
            }
        }
        seen
    }

    fn sum(&self, numbers: &[Number], of: impl Fn(Option<&Growth>, i64) -> i64) -> i64 {
        let before =
            |(home, id, column): &Number| self.truth.rows.get(&(*home, *id)).map_or(0, |row| row.before[*column]);
        numbers.iter().map(|number| of(self.growths.get(number), before(number))).sum()
    }

    fn least(&self, read: &Seen<'_>, at: Nanos) -> i64 {
        self.sum(&read.numbers, |growth, before| growth.map_or(before, |growth| growth.least(at, before)))
    }

    fn check_read(&mut self, read: &Seen<'_>) {
        let Seen { call, value, .. } = *read;
        let most = self.sum(&read.numbers, |growth, before| {
            before + growth.and_then(|growth| growth.begun.before(call.span.ended)).unwrap_or(0)
        });
        if value > most {
            let what = format!("{value} is shown, and all writes begun by then make {most}");
            self.found.push(Violation::new(Rule::OutOfNowhere, what).with(call.span.begun, (read.process, read.event)));
        }
        if call.is_stale {
            return;
        }
        let since = |at: Nanos| (call.span.begun - at) / 1_000_000;
        for (rule, at) in [(Rule::Bound, call.span.begun - self.bound), (Rule::CaughtUp, call.caught_up)] {
            let least = self.least(read, at);
            if value < least {
                let what =
                    format!("{value} is shown where {least} had been confirmed {} ms before the read", since(at));
                self.found.push(self.proven(
                    Violation::new(rule, what).with(call.span.begun, (read.process, read.event)),
                    read,
                    at,
                ));
                return;
            }
        }
        if !read.is_query {
            self.check_own(read);
        }
    }

    /// Adds the write that is missed, of the numbers that are summed up the latest one.
    fn proven(&self, violation: Violation, read: &Seen<'_>, at: Nanos) -> Violation {
        let latest = read.numbers.iter().filter_map(|number| self.growths.get(number)?.latest(at));
        match latest.max_by_key(|(_, add)| add.written.span.ended) {
            Some((process, add)) => violation.with(add.written.span.ended, (process, add)),
            None => violation,
        }
    }

    fn check_own(&mut self, read: &Seen<'_>) {
        let own = (read.process, read.call.opening);
        let least = self.sum(&read.numbers, |growth, before| {
            let accepted = growth.and_then(|growth| growth.accepted.get(&own)?.before(read.call.span.begun));
            before + accepted.unwrap_or(0)
        });
        if read.value >= least {
            return;
        }
        let what = format!("{} is shown where the process itself had made it {least}", read.value);
        let mut violation =
            Violation::new(Rule::OwnWrites, what).with(read.call.span.begun, (read.process, read.event));
        let adds = read.numbers.iter().filter_map(|number| self.growths.get(number)).flat_map(|growth| &growth.adds);
        let accepted = |add: &Add| add.written.accepted.is_some_and(|at| at < read.call.span.begun);
        let last = adds
            .filter(|(process, add)| *process == read.process && accepted(add))
            .max_by_key(|(_, add)| add.written.accepted);
        if let Some((_, add)) = last {
            violation = violation.with(add.written.accepted.unwrap_or(0), add);
        }
        self.found.push(violation);
    }

    /// The reads of one reader.
    fn check_order(&mut self, reads: &[&Seen<'_>]) {
        let confirmed = || reads.iter().filter(|read| !read.call.is_stale && !self.may_go_back(read));
        let line = Line::maxima(confirmed().map(|read| (read.call.span.ended, read.value)).collect());
        let mut found = Vec::new();
        for read in confirmed() {
            let Some(floor) = line.before(read.call.span.begun).filter(|floor| *floor > read.value) else { continue };
            let what = format!("{} is shown after {floor}", read.value);
            let mut violation =
                Violation::new(Rule::Monotone, what).with(read.call.span.begun, (read.process, read.event));
            let is_earlier =
                |earlier: &&&Seen<'_>| earlier.value == floor && Some(earlier.call.span.ended) == line.reached(floor);
            if let Some(earlier) = confirmed().find(is_earlier) {
                violation = violation.with(earlier.call.span.ended, (earlier.process, earlier.event));
            }
            found.push(violation);
        }
        self.found.extend(found);
    }

    /// A process shows what it has written before Postgres has it, and takes it back if Postgres does not take it.
    fn may_go_back(&self, read: &Seen<'_>) -> bool {
        let adds = read.numbers.iter().filter_map(|number| self.growths.get(number)).flat_map(|growth| &growth.adds);
        let is_taken_back = |add: &Add| matches!(add.written.fate, Fate::Refused | Fate::Unknown);
        !read.is_query && adds.clone().any(|(process, add)| *process == read.process && is_taken_back(add))
    }

    fn check_sums(&mut self) {
        for ((home, id), Sums { before, after }) in &self.truth.rows {
            for column in 0..COLUMNS {
                let growth = self.growths.get(&(*home, *id, column));
                let adds = growth.map_or(&[][..], |growth| &growth.adds);
                let amounts = |fates: &'static [Fate]| {
                    adds.iter().filter(|(_, add)| fates.contains(&add.written.fate)).map(|(_, add)| add.amount)
                };
                let written: i64 = amounts(&[Fate::Written]).sum();
                let unknown: Vec<i64> = amounts(&[Fate::Unknown, Fate::Unheard]).collect();
                let rest = after[column] - before[column] - written;
                if !is_sum_of_some(rest, &unknown) {
                    let what = format!(
                        "table {home} key {id} column {column} grew from {} to {}; what was confirmed makes {written}, and no choice of \
                         {unknown:?} makes the rest, {rest}",
                        before[column], after[column]
                    );
                    self.found.push(Violation::new(Rule::Conserved, what));
                }
            }
        }
    }
}

/// Whether some of the amounts, each at most once, make the sum; where there are too many to try, whether it lies between.
fn is_sum_of_some(sum: i64, amounts: &[i64]) -> bool {
    let mut sums = BTreeSet::from([0]);
    for amount in amounts {
        if sums.len() > SUMS_MAX {
            return (0..=amounts.iter().sum()).contains(&sum);
        }
        sums.extend(sums.clone().into_iter().map(|so_far| so_far + amount));
    }
    sums.contains(&sum)
}
