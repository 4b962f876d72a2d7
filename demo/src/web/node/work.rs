//! What a node does all the time.

use std::sync::Arc;
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Dice, Result};
use tokio::time::{MissedTickBehavior, timeout};

use super::NodeArguments;
use super::tally::Tally;
use crate::keys::Keys;
use crate::web::side::{ROWS, Side};
use crate::web::words::WatchedRead;

/// Callers that work side by side.
const TASKS: u64 = 16;
/// The pace is kept by doing this much, then waiting for the next tick. Ticks that a caller misses are gone: nobody asks again for what
/// he did not get in time.
const TICK: Duration = Duration::from_millis(20);
/// How long a caller waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// Reads of rows hotter than this rank are compared with what Postgres has.
pub(crate) const WATCHED: usize = 50;

struct Worker<S> {
    side: Arc<S>,
    tally: Arc<Tally>,
    keys: Arc<Keys>,
    dice: Dice,
}

/// Starts the tasks, which end with the process.
pub(crate) fn start<S: Side>(side: &Arc<S>, tally: &Arc<Tally>, arguments: &NodeArguments) {
    let keys = Arc::new(Keys::new(ROWS));
    for task in 0..TASKS {
        let (side, tally, keys) = (Arc::clone(side), Arc::clone(tally), Arc::clone(&keys));
        let worker = Worker { side, tally, keys, dice: Dice::new(arguments.seed * TASKS + task) };
        let per_tick = |per_second: u64| per_second as f64 * TICK.as_secs_f64() / TASKS as f64;
        tokio::spawn(worker.work(per_tick(arguments.reads_per_second), per_tick(arguments.writes_per_second)));
    }
}

impl<S: Side> Worker<S> {
    async fn work(mut self, reads_per_tick: f64, writes_per_tick: f64) {
        let mut pace = tokio::time::interval(TICK);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut reads_due, mut writes_due) = (self.dice.fraction(), self.dice.fraction());
        loop {
            pace.tick().await;
            reads_due += reads_per_tick;
            writes_due += writes_per_tick;
            while reads_due >= 1.0 {
                reads_due -= 1.0;
                self.attempt(Worker::read).await;
            }
            while writes_due >= 1.0 {
                writes_due -= 1.0;
                self.attempt(Worker::write).await;
            }
        }
    }

    /// One read or write, for which the caller waits for so long and no longer.
    async fn attempt(&mut self, once: impl AsyncFnOnce(&mut Worker<S>) -> Result<()>) {
        if !matches!(timeout(PATIENCE, once(self)).await, Ok(Ok(()))) {
            self.tally.failed();
        }
    }

    async fn read(&mut self) -> Result<()> {
        let rank = self.keys.draw(&mut self.dice);
        let id = i64::from(self.keys.at(rank));
        let begun_ns = now_ns();
        let seen = self.side.read(id).await?;
        let watched = (rank < WATCHED).then_some(WatchedRead { begun_ns, id, version: seen.version });
        self.tally.read(now_ns() - begun_ns, seen.hit, watched);
        Ok(())
    }

    async fn write(&mut self) -> Result<()> {
        let rank = self.keys.draw(&mut self.dice);
        self.side.add(i64::from(self.keys.at(rank))).await?;
        self.tally.wrote();
        Ok(())
    }
}
