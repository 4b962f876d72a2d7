//! What a node does: reads, and updates that add 1.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_sync::Freshness;
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Dice, Result, locked, wait};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::log::Log;
use super::{Accounts, NodeArguments};
use crate::keys::Keys;
use crate::message::{Counts, Latencies};

/// Tasks that work side by side.
const TASKS: u64 = 16;
/// What a node does per second, all tasks together, as long as the machine keeps up.
const OPS_PER_SECOND: u64 = 20_000;
/// The pace is kept by doing this much, then waiting for the next tick.
const TICK: Duration = Duration::from_millis(10);
/// Reads of accounts hotter than this rank are written down, and the sampler watches those.
pub(crate) const WATCHED: usize = 100;
/// After a failed operation a task rests.
const REST: Duration = Duration::from_millis(20);

/// What all tasks of a node share.
pub(crate) struct Work {
    accounts: Accounts,
    keys: Keys,
    log: Log,
    updates_percent: u32,
    stopped: AtomicBool,
    ops: AtomicU64,
    reads: AtomicU64,
    updates: AtomicU64,
    errors: AtomicU64,
    glances: AtomicU64,
    /// Accepted, and the outcome not written down yet.
    unsettled: AtomicU64,
    latencies: Mutex<Latencies>,
}

impl Work {
    pub(crate) fn new(accounts: Accounts, keys: Keys, arguments: &NodeArguments) -> Result<Work> {
        Ok(Work {
            accounts,
            keys,
            log: Log::create(&arguments.log)?,
            updates_percent: arguments.updates_percent,
            stopped: AtomicBool::new(false),
            ops: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            updates: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            glances: AtomicU64::new(0),
            unsettled: AtomicU64::new(0),
            latencies: Mutex::default(),
        })
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Waits until every accepted write has its outcome in the log.
    pub(crate) async fn outcomes_known(&self, limit: Duration) -> Result<()> {
        let known = async || Ok(self.unsettled.load(Ordering::Acquire) == 0);
        if !wait::until(limit, TICK, known).await? {
            return Err("accepted writes have no outcome though everything was flushed".into());
        }
        self.log.flush()
    }

    /// The probe has looked at an entry and found it.
    pub(crate) fn count_glance(&self) {
        self.glances.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn glances(&self) -> u64 {
        self.glances.load(Ordering::Relaxed)
    }

    pub(crate) fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { reads: of(&self.reads), updates: of(&self.updates), errors: of(&self.errors), ..Counts::default() }
    }

    pub(crate) fn latencies(&self) -> Latencies {
        locked(&self.latencies).clone()
    }

    /// Reads one account, from memory if it is there.
    async fn read(&self, rank: usize, latencies: &mut Latencies) -> Result<()> {
        let aid = self.keys.at(rank);
        let begun_ns = now_ns();
        let (read, histogram) = match self.accounts.held(&aid) {
            Some(read) => (read, &mut latencies.hit),
            None => (self.accounts.lookup(&aid, Freshness::Cached).await?, &mut latencies.miss),
        };
        histogram.add(now_ns() - begun_ns);
        self.reads.fetch_add(1, Ordering::Relaxed);
        if read.value.is_none() {
            return Err(format!("account {aid} is said not to exist").into());
        }
        if rank < WATCHED {
            // The version makes the state that a read returns comparable from outside.
            self.log.read(begun_ns, aid, read.version.0)?;
        }
        Ok(())
    }

    /// Adds 1 to one account.
    async fn update(self: &Arc<Work>, aid: i32, latencies: &mut Latencies) -> Result<()> {
        let op = self.ops.fetch_add(1, Ordering::Relaxed);
        self.log.intent(op, aid)?;
        let begun_ns = now_ns();
        let added = self.accounts.update(&aid, |account| account.abalance = account.abalance.map(|old| old + 1)).await;
        let receipt = match added {
            Ok(receipt) => receipt,
            Err(error) => {
                self.log.refused(op)?;
                return Err(error.into());
            }
        };
        latencies.write.add(now_ns() - begun_ns);
        self.unsettled.fetch_add(1, Ordering::AcqRel);
        self.log.accepted(op)?;
        self.updates.fetch_add(1, Ordering::Relaxed);
        let work = Arc::clone(self);
        tokio::spawn(async move {
            // Without an outcome in the log the ledger does not add up: that is how a failure here shows.
            if let Ok(outcome) = receipt.written().await {
                let what = format!("{:?} {:?}", outcome.verdict, outcome.sqlstate);
                if work.log.outcome(op, outcome.is_written(), &what).is_ok() {
                    work.unsettled.fetch_sub(1, Ordering::AcqRel);
                }
            }
        });
        Ok(())
    }
}

/// Starts the tasks.
pub(crate) fn start(work: &Arc<Work>, arguments: &NodeArguments) -> Vec<JoinHandle<Result<()>>> {
    (0..TASKS)
        .map(|task| tokio::spawn(keep_going(Arc::clone(work), Dice::new(arguments.seed * TASKS + task))))
        .collect()
}

async fn keep_going(work: Arc<Work>, mut dice: Dice) -> Result<()> {
    let mut latencies = Latencies::default();
    let mut pace = tokio::time::interval(TICK);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let per_tick = OPS_PER_SECOND * TICK.as_millis() as u64 / 1000;
    let (mut due, mut done) = (0, 0);
    while !work.is_stopped() {
        pace.tick().await;
        due += per_tick;
        // Each task does its share of the sum, so that shares of less than one operation are kept as well.
        while done < due / TASKS && !work.is_stopped() {
            done += 1;
            let rank = work.keys.draw(&mut dice);
            let update = dice.fraction() * 100.0 < f64::from(work.updates_percent);
            let result = match update {
                true => work.update(work.keys.at(rank), &mut latencies).await,
                false => work.read(rank, &mut latencies).await,
            };
            if result.is_err() {
                work.errors.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(REST).await;
            }
        }
    }
    let mut all = locked(&work.latencies);
    all.hit.merge(&latencies.hit);
    all.miss.merge(&latencies.miss);
    all.write.merge(&latencies.write);
    Ok(())
}
