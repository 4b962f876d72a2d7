//! Histories made by hand: each rule passes a good one and finds what is wrong with a bad one.

use super::*;

const MS: Nanos = 1_000_000;
/// As `check` is told.
const BOUND: Duration = Duration::from_millis(1000);
const BEGIN: Nanos = 100_000 * MS;
const NODE: u32 = 1;
const OTHER: u32 = 2;
const WRITER: u32 = 100;

/// Milliseconds after the beginning.
fn span(begun: Nanos, ended: Nanos) -> Span {
    Span { begun: BEGIN + begun * MS, ended: BEGIN + ended * MS }
}

fn call(begun: Nanos, ended: Nanos) -> Call {
    Call { span: span(begun, ended), caught_up: 0, is_stale: false, opening: 1 }
}

/// By a plain writer.
fn confirmed(begun: Nanos, ended: Nanos) -> Written {
    Written { span: span(begun, ended), accepted: None, fate: Fate::Written, opening: 0 }
}

/// By a node: begun, accepted, and its outcome heard.
fn accepted(begun: Nanos, accepted: Nanos, ended: Nanos, fate: Fate) -> Written {
    Written { span: span(begun, ended), accepted: Some(BEGIN + accepted * MS), fate, opening: 1 }
}

fn n_grew(written: Written, after: i64) -> Event {
    Event::Added(Add { home: 0, id: 1, column: 0, amount: 1, after: Some(after), written })
}

fn added(amount: i64, written: Written) -> Event {
    Event::Added(Add { home: 0, id: 1, column: 1, amount, after: None, written })
}

fn read(call: Call, n: i64, w1: i64) -> Event {
    Event::Row { call, home: 0, id: 1, values: [n, w1, 0, 0, 0] }
}

fn wrote(state: Option<i64>, name: i64, written: Written) -> Event {
    Event::Wrote(ItemWrite { id: 0, state, name: Some(name), written })
}

fn item(call: Call, state: Option<i64>) -> Event {
    Event::Item { call, id: 0, state }
}

/// One row of numbers, all of it 0 before; an item that was 10, then what is listed.
fn truth(after: [i64; COLUMNS], states: &[Option<i64>]) -> Truth {
    let mut truth = Truth { since: BEGIN, groups: 6, names: Chain::new(Some(1)), ..Truth::default() };
    truth.rows.insert((0, 1), Sums { before: [0; COLUMNS], after });
    let mut chain = Chain::new(Some(10));
    // Deletions are known by a name of their own, the others by their state.
    for (place, state) in states.iter().enumerate() {
        chain.push(Link { state: *state, name: Some(state.unwrap_or(1000 + place as i64)) });
    }
    truth.items.insert(0, chain);
    truth
}

/// The rules that these histories break.
#[track_caller]
fn broken(truth: &Truth, histories: &[(u32, &[Event])]) -> Vec<Rule> {
    let of = |(process, events): &(u32, &[Event])| History { process: *process, events: events.to_vec() };
    let histories: Vec<History> = histories.iter().map(of).collect();
    let mut rules: Vec<Rule> = check(BOUND, truth, &histories).iter().map(|violation| violation.rule).collect();
    rules.sort();
    rules.dedup();
    rules
}

const GOOD: [Rule; 0] = [];

#[test]
fn a_read_may_be_as_old_as_the_bound_and_no_older() {
    let truth = truth([2, 0, 0, 0, 0], &[]);
    let writer = [n_grew(confirmed(0, 5), 1), n_grew(confirmed(10, 20), 2)];
    let reads = |begun, n| broken(&truth, &[(WRITER, &writer), (NODE, &[read(call(begun, begun + 900), n, 0)])]);
    assert_eq!(reads(1020, 1), GOOD, "it was confirmed right at the bound");
    assert_eq!(reads(1021, 1), [Rule::Bound], "when it ended does not matter");
    assert_eq!(reads(1021, 2), GOOD);
    assert_eq!(reads(1006, 0), [Rule::Bound]);
}

#[test]
fn what_is_said_to_be_in_doubt_may_be_older() {
    let truth = truth([1, 0, 0, 0, 0], &[Some(11)]);
    let writer = [n_grew(confirmed(0, 5), 1), wrote(Some(11), 11, confirmed(0, 5))];
    let marked = Call { is_stale: true, ..call(5000, 5001) };
    assert_eq!(broken(&truth, &[(WRITER, &writer), (NODE, &[read(marked, 0, 0), item(marked, Some(10))])]), GOOD);
}

#[test]
fn who_has_caught_up_sees_what_was_there_before() {
    let truth = truth([1, 0, 0, 0, 0], &[Some(11)]);
    let writer = [n_grew(confirmed(0, 5), 1), wrote(Some(11), 11, confirmed(0, 5))];
    let caught_up = |at: Nanos| Call { caught_up: BEGIN + at * MS, ..call(50, 51) };
    let reads = |at, event: fn(Call) -> Event| broken(&truth, &[(WRITER, &writer), (NODE, &[event(caught_up(at))])]);
    for event in [(|call| read(call, 0, 0)) as fn(Call) -> Event, |call| item(call, Some(10))] {
        assert_eq!(reads(5, event), GOOD, "it began to catch up as that was confirmed");
        assert_eq!(reads(6, event), [Rule::CaughtUp]);
    }
}

#[test]
fn reads_do_not_go_back_behind_one_that_has_ended() {
    let truth = truth([1, 0, 0, 0, 0], &[]);
    let writer = [n_grew(confirmed(0, 50), 1)];
    let first = read(call(10, 20), 1, 0);
    let reads = |process, second: Call| {
        broken(&truth, &[(WRITER, &writer), (NODE, std::slice::from_ref(&first)), (process, &[read(second, 0, 0)])])
    };
    assert_eq!(reads(NODE, call(21, 30)), [Rule::Monotone]);
    assert_eq!(reads(NODE, call(15, 30)), GOOD, "they overlap");
    assert_eq!(reads(OTHER, call(21, 30)), GOOD, "another process");
    assert_eq!(reads(NODE, Call { opening: 2, ..call(21, 30) }), GOOD, "another cache");
}

#[test]
fn a_process_sees_what_it_has_written() {
    let truth = truth([0, 7, 0, 0, 0], &[]);
    let reads = |begun, w1, fate| {
        let own = [added(7, accepted(0, 5, 400, fate)), read(call(begun, begun + 1), 0, w1)];
        broken(&truth, &[(NODE, &own)])
    };
    assert_eq!(reads(6, 0, Fate::Written), [Rule::OwnWrites]);
    assert_eq!(reads(6, 7, Fate::Written), GOOD);
    assert_eq!(reads(5, 0, Fate::Written), GOOD, "it was not accepted yet");
    assert_eq!(reads(6, 0, Fate::Unknown), GOOD, "nobody can tell whether it will come");
}

#[test]
fn nothing_comes_out_of_nowhere() {
    let truth = truth([1, 0, 0, 0, 0], &[Some(11)]);
    let writer = [n_grew(confirmed(100, 105), 1), wrote(Some(11), 11, confirmed(100, 105))];
    let reads = |event| broken(&truth, &[(WRITER, &writer), (NODE, &[event])]);
    assert_eq!(reads(read(call(50, 101), 1, 0)), GOOD);
    assert_eq!(reads(read(call(50, 99), 1, 0)), [Rule::OutOfNowhere], "nobody had begun to write it");
    assert_eq!(reads(item(call(110, 120), Some(99))), [Rule::OutOfNowhere]);
}

#[test]
fn every_write_stands_in_the_row_once() {
    let sums = |after, amounts: &[(i64, Fate)]| {
        let adds: Vec<Event> = amounts.iter().map(|(amount, fate)| added(*amount, accepted(0, 1, 5, *fate))).collect();
        broken(&truth([0, after, 0, 0, 0], &[]), &[(NODE, &adds)])
    };
    assert_eq!(sums(7, &[(3, Fate::Written), (4, Fate::Written)]), GOOD);
    assert_eq!(sums(3, &[(3, Fate::Written), (4, Fate::Written)]), [Rule::Conserved], "lost");
    assert_eq!(sums(11, &[(3, Fate::Written), (4, Fate::Written)]), [Rule::Conserved], "doubled");
    assert_eq!(
        sums(8, &[(3, Fate::Written), (5, Fate::Written), (4, Fate::Written), (4, Fate::Written)]),
        [Rule::Conserved]
    );
    assert_eq!(sums(7, &[(3, Fate::Written), (4, Fate::Refused)]), [Rule::Conserved], "refused, and yet there");
    assert_eq!(sums(3, &[(3, Fate::Written), (4, Fate::Unknown)]), GOOD);
    assert_eq!(sums(7, &[(3, Fate::Written), (4, Fate::Unknown)]), GOOD);
    assert_eq!(sums(5, &[(3, Fate::Written), (4, Fate::Unknown)]), [Rule::Conserved]);
}

#[test]
fn every_receipt_ends_and_nothing_is_left() {
    let truth = truth([0; COLUMNS], &[]);
    let left = |unheard, buffered| broken(&truth, &[(NODE, &[Event::Left { unheard, buffered }])]);
    assert_eq!(left(0, 0), GOOD);
    assert_eq!(left(1, 0), [Rule::Ends]);
    assert_eq!(left(0, 1), [Rule::Converged]);
    assert_eq!(broken(&truth, &[(NODE, &[added(7, accepted(0, 5, 400, Fate::Unheard))])]), [Rule::Ends]);
}

#[test]
fn what_is_held_at_the_end_is_what_is_stored() {
    let truth = truth([3, 0, 0, 0, 0], &[Some(11), None]);
    let writer = n_grew(confirmed(0, 5), 3);
    let writers = [writer.clone(), writer.clone(), writer];
    let held = |event| broken(&truth, &[(WRITER, &writers), (NODE, &[event])]);
    assert_eq!(held(Event::HeldRow { home: 0, id: 1, values: [3, 0, 0, 0, 0] }), GOOD);
    assert_eq!(held(Event::HeldRow { home: 0, id: 1, values: [2, 0, 0, 0, 0] }), [Rule::Converged]);
    assert_eq!(held(Event::HeldItem { id: 0, state: None }), GOOD);
    assert_eq!(held(Event::HeldItem { id: 0, state: Some(11) }), [Rule::Converged]);
}

#[test]
fn queries_are_held_to_the_bound_too() {
    let mut truth = truth([2, 0, 0, 0, 0], &[Some(11)]);
    truth.rows.insert((0, 7), Sums { before: [0; COLUMNS], after: [0, 4, 0, 0, 0] });
    let writer = [n_grew(confirmed(0, 5), 1), n_grew(confirmed(6, 8), 2), wrote(Some(11), 11, confirmed(0, 5))];
    let node = Event::Added(Add {
        home: 0,
        id: 7,
        column: 1,
        amount: 4,
        after: None,
        written: accepted(0, 1, 5, Fate::Written),
    });
    let query = |event| broken(&truth, &[(WRITER, &writer), (NODE, std::slice::from_ref(&node)), (OTHER, &[event])]);
    let sum = |begun, rows, values| Event::Sum { call: call(begun, begun + 1), home: 0, group: 1, rows, values };
    assert_eq!(query(sum(2000, 2, [2, 4])), GOOD);
    assert_eq!(query(sum(2000, 2, [1, 4])), [Rule::Bound]);
    assert_eq!(query(sum(2000, 2, [2, 0])), [Rule::Bound]);
    assert_eq!(query(sum(500, 2, [1, 0])), GOOD);
    assert_eq!(query(sum(2000, 1, [2, 4])), [Rule::OutOfNowhere], "a row is missing");
    let list =
        |begun, states: &[(i32, i64)]| Event::Items { call: call(begun, begun + 1), group: 0, states: states.to_vec() };
    assert_eq!(query(list(2000, &[(0, 11)])), GOOD);
    assert_eq!(query(list(2000, &[(0, 10)])), [Rule::Bound]);
    assert_eq!(query(list(2000, &[])), [Rule::OutOfNowhere]);
}

#[test]
fn states_follow_each_other_in_the_order_of_the_database() {
    // 10, 11, gone, 12, gone, 13
    let truth = truth([0; COLUMNS], &[Some(11), None, Some(12), None, Some(13)]);
    let reads = |states: &[Option<i64>]| {
        let reads = states.iter().zip(0..).map(|(state, at)| item(call(10 * at, 10 * at + 1), *state));
        broken(&truth, &[(NODE, &reads.collect::<Vec<_>>())])
    };
    assert_eq!(reads(&[Some(10), Some(11), None, Some(12), None, Some(13)]), GOOD);
    assert_eq!(reads(&[Some(10), None, None, Some(12), Some(13)]), GOOD);
    assert_eq!(reads(&[Some(11), Some(10)]), [Rule::Monotone]);
    assert_eq!(reads(&[Some(12), None, Some(12)]), [Rule::Monotone]);
    assert_eq!(reads(&[Some(13), None]), [Rule::Monotone], "it is not gone any more");
}

#[test]
fn deletions_are_held_to_the_bound_too() {
    let truth = truth([0; COLUMNS], &[None, Some(12)]);
    let writer = [wrote(None, 1000, confirmed(0, 5)), wrote(Some(12), 12, confirmed(2000, 2005))];
    let reads = |begun, state| broken(&truth, &[(WRITER, &writer), (NODE, &[item(call(begun, begun + 1), state)])]);
    assert_eq!(reads(1005, Some(10)), GOOD);
    assert_eq!(reads(1006, Some(10)), [Rule::Bound]);
    assert_eq!(reads(2900, None), GOOD);
    assert_eq!(reads(3006, None), [Rule::Bound]);
}

#[test]
fn a_process_sees_its_own_state_until_its_outcome_and_never_an_older_one_after() {
    // The node's own 50 comes behind somebody else's 11, which was confirmed long before the outcome was.
    let truth = truth([0; COLUMNS], &[Some(11), Some(50), Some(12)]);
    let writer = [wrote(Some(11), 11, confirmed(0, 5)), wrote(Some(12), 12, confirmed(3000, 3010))];
    let own =
        |fate| Event::Wrote(ItemWrite { id: 0, state: Some(50), name: None, written: accepted(10, 20, 2500, fate) });
    let reads = |begun, state, fate| {
        broken(&truth, &[(WRITER, &writer), (NODE, &[own(fate), item(call(begun, begun + 1), state)])])
    };
    assert_eq!(reads(21, Some(50), Fate::Written), GOOD);
    assert_eq!(reads(21, Some(10), Fate::Written), [Rule::OwnWrites]);
    assert_eq!(reads(2400, Some(11), Fate::Written), [Rule::OwnWrites]);
    assert_eq!(reads(3011, Some(12), Fate::Written), GOOD);
    assert_eq!(reads(3011, Some(50), Fate::Written), GOOD, "within the bound");
    assert_eq!(reads(4011, Some(50), Fate::Written), [Rule::Bound]);
    // Somebody else must not see it before it is there, but his reads may come when they like.
    assert_eq!(broken(&truth, &[(NODE, &[own(Fate::Written)]), (OTHER, &[item(call(21, 22), Some(50))])]), GOOD);
}

#[test]
fn a_write_that_was_refused_may_be_taken_back() {
    let truth = truth([0; COLUMNS], &[]);
    let own =
        Event::Wrote(ItemWrite { id: 0, state: Some(50), name: None, written: accepted(10, 20, 500, Fate::Refused) });
    let reads = [own, item(call(21, 22), Some(50)), item(call(600, 601), Some(10))];
    assert_eq!(broken(&truth, &[(NODE, &reads)]), GOOD);
    let late = [reads[0].clone(), item(call(600, 601), Some(50))];
    assert_eq!(broken(&truth, &[(NODE, &late)]), [Rule::OutOfNowhere]);
}

#[test]
fn a_cache_shows_rows_of_one_table_and_not_for_long_after_a_swap() {
    let mut truth = truth([0; COLUMNS], &[]);
    for home in 1..HOMES {
        truth.rows.insert((home, 1), Sums::default());
    }
    truth.names.push(Link { state: Some(2), name: Some(1) });
    let swap = [Event::Named { name: 1, written: confirmed(0, 5) }];
    let row = |begun, home, opening| Event::Row {
        call: Call { opening, ..call(begun, begun + 1) },
        home,
        id: 1,
        values: [0; COLUMNS],
    };
    let reads = |events: &[Event]| broken(&truth, &[(WRITER, &swap), (NODE, events)]);
    assert_eq!(reads(&[row(1, 1, 1), row(900, 1, 1), row(901, 2, 2), row(2000, 2, 2)]), GOOD);
    assert_eq!(reads(&[row(1, 1, 1), row(900, 2, 1)]), [Rule::OneTable]);
    assert_eq!(reads(&[row(1, 1, 1), row(1006, 1, 1)]), [Rule::OneTable]);
    let sum = |begun, home| Event::Sum { call: call(begun, begun + 1), home, group: 1, rows: 1, values: [0; 2] };
    assert_eq!(reads(&[sum(1, 1), sum(900, 2)]), GOOD, "a query is of no one table");
    assert_eq!(reads(&[sum(1006, 1)]), [Rule::OneTable]);
}

/// So that whoever reads it can see it for himself.
#[test]
fn a_violation_shows_the_write_that_is_missed() {
    let truth = truth([1, 0, 0, 0, 0], &[]);
    let write = n_grew(confirmed(0, 5), 1);
    let histories = [
        History { process: WRITER, events: vec![write] },
        History { process: NODE, events: vec![read(call(2000, 2001), 0, 0)] },
    ];
    let text = check(BOUND, &truth, &histories)[0].text(BEGIN);
    assert!(text.contains("5.000 ms  (100, Add") && text.contains("2000.000 ms  (1, Row"), "{text}");
}
