//! Two sides' writers that take turns in writing.
//!
//! What else a machine does lasts seconds, and a set of processes may be lucky with its places in memory for as long as it
//! lives. So the turns are short, and each round has processes of its own, which have got going before it counts.

use crate::cpu::server_seconds;
use crate::measure::{Rounds, Sides};
use crate::side::{Load, Side, Writers};
use cache_sync_kit::Result;
use std::time::{Duration, Instant};

/// How long one side writes at a time.
const TURN: Duration = Duration::from_millis(500);
/// How long its listeners have to hear of it before it is the other one's turn: a feed's longest pause with the settings'
/// defaults (105 ms), and some more.
const SETTLE: Duration = Duration::from_millis(150);

/// What came out.
#[derive(Default)]
pub(crate) struct Turns {
    /// Transactions a second.
    pub(crate) tps: Sides,
    /// Seconds of processor time that the server took for a million of them.
    pub(crate) cpu_per_million: Sides,
}

/// Has two sides write in turns, for as long as each is to be measured in each round.
pub(crate) async fn take(rounds: Rounds, ours: &Side<'_>, theirs: &Side<'_>, load: Load) -> Result<Turns> {
    let count = (rounds.time().as_millis() / TURN.as_millis()).max(1) as usize;
    let mut turns = Turns::default();
    for round in 0..rounds.count {
        // By rounds, either is the first to start and to write.
        let is_swapped = round % 2 == 1;
        let (first, second) = if is_swapped { (theirs, ours) } else { (ours, theirs) };
        let (mut first, mut second) = (Player::start(first, load).await?, Player::start(second, load).await?);
        for turn in 0..count {
            if turn % 2 == 0 {
                first.play().await?;
                second.play().await?;
            } else {
                second.play().await?;
                first.play().await?;
            }
        }
        let results = (first.end().await?, second.end().await?);
        let (ours, theirs) = if is_swapped { (results.1, results.0) } else { results };
        turns.tps.add(ours.tps, theirs.tps);
        turns.cpu_per_million.add(ours.cpu_per_million, theirs.cpu_per_million);
    }
    Ok(turns)
}

/// A side in a round, and what its turns took.
struct Player<'s> {
    writers: Writers<'s>,
    transactions_before: f64,
    seconds: f64,
    cpu_seconds: f64,
}

/// What a round brought to a side.
struct Ran {
    tps: f64,
    cpu_per_million: f64,
}

impl<'s> Player<'s> {
    async fn start(side: &'s Side<'s>, load: Load) -> Result<Player<'s>> {
        let writers = side.start(load).await?;
        let mut player = Player { writers, transactions_before: 0.0, seconds: 0.0, cpu_seconds: 0.0 };
        player.play().await?;
        let transactions_before = player.writers.transactions().await?;
        Ok(Player { transactions_before, seconds: 0.0, cpu_seconds: 0.0, ..player })
    }

    async fn play(&mut self) -> Result<()> {
        let cluster = self.writers.side.cluster;
        let (cpu_seconds, start) = (server_seconds(cluster)?, Instant::now());
        self.writers.resume()?;
        tokio::time::sleep(TURN).await;
        // Until the last statement has ended, since its transaction counts.
        self.writers.pause().await?;
        self.seconds += start.elapsed().as_secs_f64();
        tokio::time::sleep(SETTLE).await;
        self.cpu_seconds += server_seconds(cluster)? - cpu_seconds;
        Ok(())
    }

    async fn end(mut self) -> Result<Ran> {
        let transactions = self.writers.transactions().await? - self.transactions_before;
        self.writers.check().await?;
        Ok(Ran { tps: transactions / self.seconds, cpu_per_million: self.cpu_seconds * 1e6 / transactions })
    }
}
