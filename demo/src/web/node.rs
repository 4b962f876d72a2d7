//! A process that reads and writes by one of the two ways, at a pace that does not depend on how fast the answers are, and
//! reports four times a second.

mod tally;
mod work;

use std::sync::Arc;
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{CommandLine, Result, Values};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::time::{Instant, MissedTickBehavior};

use crate::message::say;
use crate::web::side::ours::Ours;
use crate::web::side::redis::Aside;
use crate::web::side::{Sent, Side};
use crate::web::words::{Order, Report, Said, Way};
use tally::Tally;
pub(crate) use work::WATCHED;

/// Between two reports.
pub(crate) const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How long an edit may take until it has failed.
pub(crate) const EDIT_DEADLINE: Duration = Duration::from_secs(5);

/// What the orchestrator wants of a node.
#[derive(Debug, Clone)]
pub(crate) struct NodeArguments {
    pub(crate) way: Way,
    pub(crate) dsn: String,
    /// Where Redis is.
    pub(crate) redis: String,
    pub(crate) seed: u64,
    pub(crate) reads_per_second: u64,
    pub(crate) writes_per_second: u64,
    /// Nothing that is older is to be served: the longest silence of the feed.
    pub(crate) bound: Duration,
    /// For how long Redis keeps a row.
    pub(crate) time_to_live: Duration,
}

impl NodeArguments {
    const LINE: CommandLine<'static> = CommandLine {
        valued: &["--way", "--dsn", "--redis", "--seed", "--reads", "--writes", "--bound-ms", "--ttl-ms"],
        alone: &[],
        usage: "usage: demo web-node, as the web demo starts it",
    };

    /// As command line.
    pub(crate) fn args(&self) -> Vec<String> {
        let pairs = [
            ("--way", self.way.role().to_owned()),
            ("--dsn", self.dsn.clone()),
            ("--redis", self.redis.clone()),
            ("--seed", self.seed.to_string()),
            ("--reads", self.reads_per_second.to_string()),
            ("--writes", self.writes_per_second.to_string()),
            ("--bound-ms", self.bound.as_millis().to_string()),
            ("--ttl-ms", self.time_to_live.as_millis().to_string()),
        ];
        let words = pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        std::iter::once("web-node".to_owned()).chain(words).collect()
    }

    fn parse(args: &[String]) -> Result<NodeArguments> {
        let values = NodeArguments::LINE.parse(args)?;
        Ok(NodeArguments {
            way: way(&values)?,
            dsn: values.must("--dsn")?,
            redis: values.must("--redis")?,
            seed: values.must("--seed")?,
            reads_per_second: values.must("--reads")?,
            writes_per_second: values.must("--writes")?,
            bound: Duration::from_millis(values.must("--bound-ms")?),
            time_to_live: Duration::from_millis(values.must("--ttl-ms")?),
        })
    }
}

fn way(values: &Values) -> Result<Way> {
    let role: String = values.must("--way")?;
    let known = Way::BOTH.into_iter().find(|way| way.role() == role);
    known.ok_or_else(|| format!("--way cannot be {role}").into())
}

/// Runs a node until its standard input ends.
pub(crate) async fn main(args: &[String]) -> Result<()> {
    let arguments = NodeArguments::parse(args)?;
    end_with_the_orchestrator()?;
    match arguments.way {
        Way::CacheSync => run(Ours::open(&arguments.dsn, arguments.bound).await?, &arguments).await,
        Way::Redis => {
            let side = Aside::open(&arguments.dsn, &arguments.redis, arguments.time_to_live).await?;
            run(side, &arguments).await
        }
    }
}

/// Also if it is killed while this process is stopped, and so cannot see its standard input end. What counts is the thread that
/// started this process; those of the orchestrator's runtime last as long as it does.
fn end_with_the_orchestrator() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

async fn run<S: Side>(side: S, arguments: &NodeArguments) -> Result<()> {
    let (side, tally) = (Arc::new(side), Arc::new(Tally::default()));
    work::start(&side, &tally, arguments);
    let mut following = tokio::spawn(Arc::clone(&side).follow());
    say(&Said::Ready)?;
    let mut orders = BufReader::new(stdin()).lines();
    let mut reporting = tokio::time::interval_at(Instant::now() + REPORT_EVERY, REPORT_EVERY);
    reporting.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last_ns, mut before) = (now_ns(), Sent::default());
    loop {
        tokio::select! {
            order = orders.next_line() => match order? {
                Some(order) => obey(&side, serde_json::from_str(&order)?),
                None => return Ok(()),
            },
            _ = reporting.tick() => {
                let (to_ns, sent) = (now_ns(), side.sent());
                say(&Said::Report(report(tally.take(), sent, before, last_ns, to_ns)))?;
                (last_ns, before) = (to_ns, sent);
            }
            ended = &mut following => ended??,
        }
    }
}

/// What was counted between two moments.
fn report(counted: Report, sent: Sent, before: Sent, from_ns: i64, to_ns: i64) -> Report {
    let loads = sent.loads.saturating_sub(before.loads);
    let batches = sent.batches.saturating_sub(before.batches);
    Report { from_ns, to_ns, loads, batches, buffered: sent.buffered, ..counted }
}

fn obey<S: Side>(side: &Arc<S>, order: Order) {
    let side = Arc::clone(side);
    // Where nobody listens any more the orchestrator is gone, and then this process ends, too.
    tokio::spawn(async move {
        match order {
            Order::Edit { number, id, text } => {
                let outcome = match tokio::time::timeout(EDIT_DEADLINE, side.edit(id, text)).await {
                    Ok(outcome) => outcome.map_err(|error| error.to_string()),
                    Err(_) => Err(format!("Postgres has not confirmed it within {} s", EDIT_DEADLINE.as_secs())),
                };
                say(&Said::Edited { number, outcome })
            }
            Order::TimeToLive { ms } => side.keep_for(Duration::from_millis(ms)).await,
        }
    });
}
