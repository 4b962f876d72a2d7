//! Processes with the SDK, plain writers, and faults; at each moment of quiet their histories are held against the rules.
//!
//! ```text
//! field      the cluster, its standby, nodes behind links, writers      process    a node, as its parent sees it
//! writers    plain connections, which write histories, too              resources  memory and connections
//! report     what is printed
//! ```

mod field;
mod process;
mod report;
mod resources;
mod writers;

pub(crate) use report::Report;

use crate::faults::{Choice, Plan};
use crate::history;
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Dice, Result, wait};
use field::Field;
pub(crate) use field::Node;
use std::time::{Duration, Instant};

/// How old what is read may be: the nodes' `feed_timeout`.
pub(crate) const BOUND: Duration = Duration::from_secs(2);
/// How long nodes may take to be well once faults are over.
const REPAIR_MAX: Duration = Duration::from_secs(60);
/// Rounds between two moments of quiet, at most.
const ROUNDS: usize = 3;
/// With less time left no other round is begun.
const ROUND_MIN: Duration = Duration::from_secs(6);

pub(crate) async fn run(time: Duration, seed: u64, choice: &Choice) -> Result<Report> {
    let mut report = Report::default();
    let mut field = Field::start(time, seed, choice).await?;
    let end = Instant::now() + time;
    let mut dice = Dice::new(seed);
    let mut rounds = 0;
    while rounds == 0 || Instant::now() + ROUND_MIN < end {
        field.go().await?;
        for _ in 0..ROUNDS {
            rounds += 1;
            let plan = Plan::next(&mut dice, choice, field.has_standby());
            println!("round {rounds:>3}: {plan}");
            round(&mut field, &plan, &mut report).await?;
            if Instant::now() + ROUND_MIN >= end {
                break;
            }
        }
        quiet(&mut field, &mut report).await?;
    }
    report.resources = field.resources.take();
    field.end().await;
    report.finish();
    Ok(report)
}

/// The faults of a plan, and the time until everybody is well again.
async fn round(field: &mut Field, plan: &Plan, report: &mut Report) -> Result<()> {
    tokio::time::sleep(plan.calm).await;
    let struck = field.strike(plan).await?;
    tokio::time::sleep(plan.lasts).await;
    field.heal(struck).await?;
    let healed = Instant::now();
    for number in 0..field.nodes.len() {
        let left = REPAIR_MAX.saturating_sub(healed.elapsed());
        let node = &mut field.nodes[number].process;
        if !wait::until(left, Duration::from_millis(20), async || node.is_well().await).await? {
            return Err(format!("node {} is not well {REPAIR_MAX:?} after: {plan}", number + 1).into());
        }
    }
    report.repaired(plan, healed.elapsed());
    Ok(())
}

/// Nobody acts any more: what happened is held against the rules.
async fn quiet(field: &mut Field, report: &mut Report) -> Result<()> {
    let begun = now_ns();
    let (truth, histories) = field.quiet(report).await?;
    let settled_ms = (now_ns() - begun) / 1_000_000;
    let found = history::check(BOUND, &truth, &histories);
    let events: usize = histories.iter().map(|history| history.events.len()).sum();
    println!("    quiet: {events} events, {} violations; settled in {settled_ms} ms", found.len());
    report.add(truth.since, events, settled_ms as u64, found);
    Ok(())
}
