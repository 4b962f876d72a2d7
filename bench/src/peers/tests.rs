//! The checks must be able to fail: peers that do wrong on purpose.

use super::confirmed::Lost;
use super::contender::{Memory, Round};
use super::kind::Kind;
use super::load::Field;
use super::shape::Shape;
use super::table::{Line, Table};
use super::tally::Turn;
use super::{child, contender, tell};
use crate::report::Report;
use cache_sync_kit::{Result, locked};
use cache_sync_peers::{Change, Peer, Record, Write, Written};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

const ROWS: u64 = 100;
const TIME: Duration = Duration::from_millis(100);
/// From a confirmation until the commit of who buffers.
const LATER: Duration = Duration::from_millis(20);
/// How long a test waits for what comes soon when all is well.
const SOON: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Reads and writes what is there.
    Honest,
    /// Holds for ever what it has read.
    Stale,
    /// Confirms writes that it forgets.
    Forgetful,
    /// Confirms writes that it makes later.
    Buffering,
    /// The same, and it holds for ever what it has read.
    BufferingStale,
}

type Rows = Arc<Mutex<HashMap<i64, Record>>>;

/// A node of a peer that needs no database.
struct Fake {
    rows: Rows,
    held: Mutex<HashMap<i64, Arc<Record>>>,
    manner: Manner,
    bound: Duration,
    writes: AtomicU64,
}

impl Peer for Fake {
    fn stale_at_most(&self) -> Option<Duration> {
        Some(self.bound)
    }

    async fn read(&self, key: i64) -> Result<Option<Arc<Record>>> {
        // Others are let in between a read and what is made of it.
        tokio::task::yield_now().await;
        let look = || locked(&self.rows).get(&key).cloned().map(Arc::new);
        if !matches!(self.manner, Manner::Stale | Manner::BufferingStale) {
            return Ok(look());
        }
        let mut held = locked(&self.held);
        let known = held.get(&key).cloned();
        Ok(known.or_else(|| look().inspect(|record| drop(held.insert(key, Arc::clone(record))))))
    }

    async fn write(&self, write: Write<'_>) -> Result<Written> {
        tokio::task::yield_now().await;
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        if self.manner == Manner::Forgetful && number.is_multiple_of(3) {
            return Ok(Written::Committed);
        }
        if !matches!(self.manner, Manner::Buffering | Manner::BufferingStale) {
            apply(&self.rows, write);
            return Ok(Written::Committed);
        }
        let (rows, key, version) = (Arc::clone(&self.rows), write.key, write.version);
        // It is made whether or not anybody waits.
        let committed = tokio::spawn(async move {
            tokio::time::sleep(LATER).await;
            apply(&rows, Write { key, version, change: Change::Count });
        });
        Ok(Written::Buffered(Box::pin(async { Ok(committed.await?) })))
    }

    fn statements(&self) -> u64 {
        0
    }
}

fn apply(rows: &Rows, write: Write<'_>) {
    let mut rows = locked(rows);
    let row = rows.entry(write.key).or_insert_with(|| Record::filled(0, ""));
    row.version = row.version.max(write.version);
    match write.change {
        Change::Count => row.counter += 1,
        Change::CountFrom(read) => row.counter = read.counter + 1,
        Change::Field { text, .. } | Change::Insert(text) => text.clone_into(&mut row.field0),
    }
}

fn nodes(manner: Manner, bound: Duration) -> (Rows, [Arc<Fake>; 2]) {
    let rows: Rows = Arc::new(Mutex::new((0..ROWS as i64).map(|key| (key, Record::filled(1, "x"))).collect()));
    let node = || {
        let (rows, held) = (Arc::clone(&rows), Mutex::default());
        Arc::new(Fake { rows, held, manner, bound, writes: AtomicU64::new(0) })
    };
    let nodes = [node(), node()];
    (rows, nodes)
}

/// What two such nodes do in a turn, and what is lost then.
async fn turn(manner: Manner, bound: Duration, shape: Shape) -> (Turn, Lost) {
    let (rows, nodes) = nodes(manner, bound);
    let field = Arc::new(Field::new(shape, ROWS));
    field.warm(&nodes).await.expect("all rows");
    let turn = field.turn(&nodes, "host=nowhere", TIME).await.expect("a turn");
    assert!(turn.reads > 0 && (turn.writes > 0 || matches!(shape, Shape::C | Shape::One)), "{turn:?}");
    let rows = locked(&rows);
    let lost = field.confirmed.lost(rows.iter().map(|(key, row)| (*key, row.version, row.counter)));
    (turn, lost)
}

/// The same in as many tries as it takes: what happens in one depends on how fast the machine is. The last one, where it is never so.
async fn turn_with(
    manner: Manner,
    bound: Duration,
    shape: Shape,
    is_so: impl Fn(&Turn, &Lost) -> bool,
) -> (Turn, Lost) {
    let begun = Instant::now();
    loop {
        let (turn, lost) = turn(manner, bound, shape).await;
        if is_so(&turn, &lost) || begun.elapsed() > SOON {
            return (turn, lost);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_held_against_who_does_right() {
    for shape in [Shape::A, Shape::B, Shape::C, Shape::One, Shape::D, Shape::Add] {
        let (turn, lost) = turn(Manner::Honest, Duration::ZERO, shape).await;
        assert_eq!((turn.stale, turn.beyond, lost), (0, 0, Lost::default()), "{}", shape.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_reads_are_counted() {
    let is_old = |turn: &Turn, _: &Lost| turn.stale > 0 && turn.oldest_ms > 1.0;
    let (strict, _) = turn_with(Manner::Stale, Duration::ZERO, Shape::A, is_old).await;
    assert!(strict.stale > 0 && strict.beyond == strict.stale && strict.oldest_ms > 1.0, "{strict:?}");
    assert!(strict.oldest_ms < 2.0 * strict.seconds * 1e3, "{strict:?}");
    let (lax, _) = turn_with(Manner::Stale, HOUR, Shape::A, is_old).await;
    assert!(lax.stale > 0 && lax.beyond == 0, "{lax:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_updates_are_counted() {
    let is_lost = |_: &Turn, lost: &Lost| *lost != Lost::default();
    let (turn_of_f, lost) = turn_with(Manner::Honest, Duration::ZERO, Shape::F, is_lost).await;
    assert!(lost.counts > 0 && lost.rows == 0, "{lost:?} of {turn_of_f:?}");
    let (_, lost) = turn_with(Manner::Forgetful, Duration::ZERO, Shape::Add, is_lost).await;
    assert!(lost.counts > 0, "{lost:?}");
    let (_, lost) = turn_with(Manner::Forgetful, Duration::ZERO, Shape::A, is_lost).await;
    assert!(lost.rows > 0 && lost.counts == 0, "{lost:?}");
    let (_, lost) = turn_with(Manner::Forgetful, Duration::ZERO, Shape::D, is_lost).await;
    assert!(lost.rows > 0, "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_buffered_is_held_against_nobody_before_its_commit() {
    let is_stale = |turn: &Turn, _: &Lost| turn.stale > 0;
    let (late, lost) = turn_with(Manner::Buffering, Duration::ZERO, Shape::Add, is_stale).await;
    assert!(late.stale > 0 && late.beyond == 0 && lost == Lost::default(), "{late:?} {lost:?}");
    let is_beyond = |turn: &Turn, _: &Lost| turn.beyond > 0 && turn.beyond < turn.stale;
    let (stale, lost) = turn_with(Manner::BufferingStale, Duration::ZERO, Shape::Add, is_beyond).await;
    assert!(stale.beyond > 0 && stale.beyond < stale.stale && lost == Lost::default(), "{stale:?} {lost:?}");
    let (within, _) = turn_with(Manner::BufferingStale, HOUR, Shape::Add, is_stale).await;
    assert!(within.stale > 0 && within.beyond == 0, "{within:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_ends_with_whoever_asked_for_it() {
    let (_rows, nodes) = nodes(Manner::Honest, HOUR);
    let (mut input, output) = tokio::io::duplex(64);
    input.write_all(b"turn 3600\n").await.expect("it listens");
    let field = Arc::new(Field::new(Shape::A, ROWS));
    let work = child::obey(&nodes, "host=nowhere", &field, BufReader::new(output));
    let leave = async {
        while nodes[0].writes.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(input);
    };
    let both = async { tokio::join!(work, leave) };
    let (ended, ()) = timeout(SOON, both).await.expect("it begins, and does not go on without anybody");
    ended.expect("nothing went wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_of_ours_was_beyond_its_bound_fails() {
    let (honest, _) = turn(Manner::Honest, HOUR, Shape::A).await;
    let is_right = |turn: Turn, bound_ms| {
        let line = |kind| {
            let round = Round { turn: turn.clone(), statements: 0.0, cpu_seconds: 0.0 };
            let (memory, lost) = (Memory::default(), Lost::default());
            Line { kind, bound_ms: Some(bound_ms), seconds: 1.0, memory, rounds: vec![round], lost }
        };
        let lines = vec![line(Kind::Ours), line(Kind::Plain)];
        tell(&[Table { shape: Shape::A, lines }], &mut Report::default())
    };
    assert!(is_right(honest.clone(), 100.0) && is_right(honest.clone(), 1000.0));
    let beyond = Turn { beyond: 1, ..honest };
    // Also where a turn is not long enough to be sure to see it.
    assert!(!is_right(beyond.clone(), 100.0) && !is_right(beyond, 1000.0));
}

#[tokio::test]
async fn a_process_that_is_silent_is_not_waited_for() {
    let (mut says, heard) = tokio::io::duplex(64);
    let mut lines = BufReader::new(heard).lines();
    says.write_all(b"1\n2").await.expect("room");
    assert_eq!(contender::next(&mut lines, SOON).await.expect("a line"), "1");
    let silent = contender::next(&mut lines, Duration::from_millis(10)).await.expect_err("no whole line");
    assert_eq!(silent.to_string(), "its process has not answered for 10ms");
    drop(says);
    assert_eq!(contender::next(&mut lines, SOON).await.expect("the rest"), "2");
    let ended = contender::next(&mut lines, SOON).await.expect_err("it has ended");
    assert_eq!(ended.to_string(), "its process has ended");
}
