//! Two sides' writers that take turns in writing.
//!
//! What a machine does meanwhile lasts seconds, and a set of processes may be lucky with its places in memory for as long as it
//! lives. So the turns are short, and each round has processes of its own, with their caches filled before it counts.

use crate::Result;
use crate::cpu::server_seconds;
use crate::measure::{Rounds, Sides};
use crate::side::{Side, Workload, Writers};
use std::time::{Duration, Instant};

/// How long one side writes at a time.
const TURN: Duration = Duration::from_millis(250);
/// How long the server has to finish what a side began, and its listeners to hear of it. Their longest pause is shorter.
const SETTLE: Duration = Duration::from_millis(120);

/// What came out.
pub(crate) struct Turns {
    /// Transactions a second.
    pub(crate) tps: Sides,
    /// Seconds of processor time that the server took for a million of them.
    pub(crate) cpu_per_million: Sides,
}

/// Has two sides write in turns, for as long as each is to be measured in each round.
pub(crate) async fn take(
    rounds: Rounds,
    (ours, theirs): (&Side<'_>, &Side<'_>),
    (workload, writers, listeners): (Workload, usize, usize),
) -> Result<Turns> {
    let mut turns = Turns { tps: Sides::default(), cpu_per_million: Sides::default() };
    for round in 0..rounds.count {
        let ours = ours.start(workload, writers, listeners).await?;
        let theirs = theirs.start(workload, writers, listeners).await?;
        let (mut our_time, mut their_time) = (Taken::default(), Taken::default());
        let (our_before, their_before) = (ours.transactions()?, theirs.transactions()?);
        for turn in 0..(rounds.time().as_millis() / TURN.as_millis()).max(1) as usize {
            if (round + turn) % 2 == 0 {
                our_time.take(&ours).await?;
                their_time.take(&theirs).await?;
            } else {
                their_time.take(&theirs).await?;
                our_time.take(&ours).await?;
            }
        }
        let (our_count, their_count) = (ours.transactions()? - our_before, theirs.transactions()? - their_before);
        ours.have_been_heard()?;
        theirs.have_been_heard()?;
        turns.tps.add(our_count / our_time.seconds, their_count / their_time.seconds);
        turns.cpu_per_million.add(our_time.cpu / our_count * 1e6, their_time.cpu / their_count * 1e6);
    }
    Ok(turns)
}

/// What a side's turns took, in seconds.
#[derive(Default)]
struct Taken {
    seconds: f64,
    cpu: f64,
}

impl Taken {
    async fn take(&mut self, writers: &Writers<'_>) -> Result<()> {
        let cluster = writers.side.cluster;
        let (cpu, start) = (server_seconds(cluster)?, Instant::now());
        writers.resume()?;
        tokio::time::sleep(TURN).await;
        writers.pause()?;
        self.seconds += start.elapsed().as_secs_f64();
        tokio::time::sleep(SETTLE).await;
        self.cpu += server_seconds(cluster)? - cpu;
        Ok(())
    }
}
