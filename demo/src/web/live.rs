//! What the page shows, four times a second: always the last state, so a slow browser misses some and holds nothing up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Result, locked};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::board::{NODES, Sums};
use super::calculator::{Benched, Busy, Measured};
use super::shelf::{Delays, Line};
use super::timeline::{Event, seconds};
use super::words::Way;
use super::{Shared, nodes};
use crate::run::BOUND;

/// Between two states.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// How many points of the plots are kept: two minutes.
const POINTS_MAX: usize = 480;
/// Of the hit rate that a way has when all is calm, so much is enough to count as serving.
const HIT_RATE_SHARE: f64 = 0.5;
/// How much a new hit rate moves what counts as usual.
const USUAL_WEIGHT: f64 = 0.05;

/// How a way does, a second.
#[derive(Debug, Clone, Copy, Serialize)]
struct Now {
    reads: f64,
    writes: f64,
    failed: f64,
    /// From 0 to 1; none without reads.
    hit_rate: Option<f64>,
    statements: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    stale: f64,
    beyond: f64,
    oldest_ms: f64,
    buffered: u64,
    delays: Delays,
}

/// Since the start.
#[derive(Debug, Clone, Copy, Serialize)]
struct SinceStart {
    reads: u64,
    statements: u64,
    /// While nothing was broken, for how long Postgres was busy with loads, for each read, whether or not it needed one; and with writes, for each.
    busy_us_per_read: Option<f64>,
    busy_us_per_write: Option<f64>,
    compared: u64,
    stale: u64,
    beyond: u64,
    oldest_ms: f64,
    failed: u64,
}

/// A place in the plots.
#[derive(Debug, Clone, Copy, Serialize)]
struct Point {
    /// Seconds since the start.
    at: f64,
    ways: [Now; 2],
}

#[derive(Debug, Serialize)]
struct Node {
    name: String,
    heard: bool,
}

#[derive(Debug, Serialize)]
struct State<'a> {
    point: Point,
    since_start: [SinceStart; 2],
    postgres: bool,
    nodes: Vec<Node>,
    shelf: Vec<Line>,
    events: &'a [Event],
    /// Nothing is under way and everything is repaired.
    calm: bool,
    measured: Measured,
    /// Times in there are from a bench.
    bench: bool,
    /// What was asked for, of each node.
    reads: u64,
    writes: u64,
    /// Rows that pgbench has changed in a second.
    pgbench: f64,
    bound_ms: u128,
    time_to_live_ms: u128,
}

/// The last state, and the plots up to now.
#[derive(Debug)]
pub(crate) struct Live {
    state: watch::Sender<Arc<str>>,
    points: Mutex<VecDeque<Point>>,
}

impl Live {
    pub(crate) fn new() -> Live {
        Live { state: watch::Sender::new(Arc::from("null")), points: Mutex::default() }
    }

    /// The last state as JSON, and each that is the last later.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<str>> {
        self.state.subscribe()
    }

    /// The points of the plots as JSON.
    pub(crate) fn points(&self) -> Result<String> {
        Ok(serde_json::to_string(&*locked(&self.points))?)
    }
}

/// Publishes until this is no longer polled.
pub(crate) async fn publish(shared: &Shared) -> Result<()> {
    let mut ticks = tokio::time::interval(PUBLISH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut usual = [0.0; 2];
    loop {
        ticks.tick().await;
        once(shared, &mut usual)?;
    }
}

fn once(shared: &Shared, usual: &mut [f64; 2]) -> Result<()> {
    let now_ns = now_ns();
    let sums = Way::BOTH.map(|way| shared.board.sums(way));
    let serves = Way::BOTH.map(|way| shared.board.has_served(way, usual[way.place()] * HIT_RATE_SHARE));
    let mut timeline = locked(&shared.timeline);
    timeline.look(now_ns, serves);
    if timeline.is_calm() {
        for (usual, sums) in usual.iter_mut().zip(&sums) {
            *usual += (sums.hit_rate().unwrap_or(*usual) - *usual) * USUAL_WEIGHT;
        }
    }
    let ways = Way::BOTH.map(|way| now(shared, way, &sums[way.place()], now_ns));
    let heard: [bool; NODES] = std::array::from_fn(|node| shared.board.is_heard(node));
    let point = Point { at: seconds(now_ns - shared.start_ns), ways };
    let state = State {
        point,
        since_start: Way::BOTH.map(|way| since_start(shared, way)),
        postgres: shared.counted.answers(),
        nodes: heard.iter().enumerate().map(|(node, heard)| Node { name: nodes::name(node), heard: *heard }).collect(),
        shelf: shared.shelf.lines(heard),
        events: timeline.events(),
        calm: timeline.is_calm(),
        measured: measured(shared),
        bench: shared.arguments.bench != Benched::default(),
        reads: shared.arguments.reads,
        writes: shared.arguments.writes,
        pgbench: shared.counted.pgbench_rate(),
        bound_ms: BOUND.as_millis(),
        time_to_live_ms: locked(&shared.time_to_live).as_millis(),
    };
    let text = serde_json::to_string(&state)?;
    drop(timeline);
    let mut points = locked(&shared.live.points);
    if points.len() == POINTS_MAX {
        points.pop_front();
    }
    points.push_back(point);
    shared.live.state.send_replace(Arc::from(text));
    Ok(())
}

fn now(shared: &Shared, way: Way, sums: &Sums, now_ns: i64) -> Now {
    Now {
        reads: sums.reads,
        writes: sums.writes,
        failed: sums.failed,
        hit_rate: sums.hit_rate(),
        statements: shared.counted.of(way).rate,
        p50_us: sums.reading.quantile_us(0.5),
        p99_us: sums.reading.quantile_us(0.99),
        stale: sums.stale,
        beyond: sums.beyond,
        oldest_ms: sums.oldest_ns as f64 / 1e6,
        buffered: sums.buffered,
        delays: shared.shelf.delays(way, now_ns),
    }
}

fn since_start(shared: &Shared, way: Way) -> SinceStart {
    let (totals, statements) = (shared.board.totals(way), shared.counted.of(way));
    SinceStart {
        reads: totals.reads,
        statements: statements.total,
        busy_us_per_read: share(statements.priced.loads_ms * 1000.0, statements.priced.reads),
        busy_us_per_write: share(statements.priced.writes_ms * 1000.0, statements.priced.writes),
        compared: totals.ages.compared,
        stale: totals.ages.stale,
        beyond: totals.ages.beyond,
        oldest_ms: totals.ages.oldest_ns as f64 / 1e6,
        failed: totals.failed,
    }
}

/// What the calculator goes by, from all that happened since the start.
pub(crate) fn measured(shared: &Shared) -> Measured {
    let [totals, theirs] = Way::BOTH.map(|way| shared.board.totals(way));
    let misses = totals.reads - totals.hits;
    let ratio = |part: u64, of: u64| share(part as f64, of);
    let mean_us = |nanos: i64, of: u64| share(nanos as f64 / 1000.0, of);
    shared.arguments.bench.amend(Measured {
        hit_rate: ratio(totals.hits, totals.reads),
        loads_per_miss: ratio(totals.loads, misses).map(|loads| loads.min(1.0)),
        batches_per_write: ratio(totals.batches, totals.writes).map(|batches| batches.min(1.0)),
        busy: busy(shared),
        hit_us: mean_us(totals.hits_ns, totals.hits),
        miss_us: mean_us(totals.misses_ns, misses),
        // Nobody reads without a cache here.
        select_us: None,
        redis_hit_rate: ratio(theirs.hits, theirs.reads),
    })
}

/// `None` unless there were misses and writes of both.
fn busy(shared: &Shared) -> Option<Busy> {
    let per_miss_and_write = |way| {
        let priced = shared.counted.of(way).priced;
        share(priced.loads_ms, priced.misses).zip(share(priced.writes_ms, priced.writes))
    };
    let (ours_ms_per_miss, ours_ms_per_write) = per_miss_and_write(Way::CacheSync)?;
    let (theirs_ms_per_miss, theirs_ms_per_write) = per_miss_and_write(Way::Redis)?;
    Some(Busy { ours_ms_per_miss, ours_ms_per_write, theirs_ms_per_miss, theirs_ms_per_write })
}

fn share(part: f64, of: u64) -> Option<f64> {
    (of > 0).then(|| part / of as f64)
}
