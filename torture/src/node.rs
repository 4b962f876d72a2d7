//! A process that uses the SDK, and writes down what it did and saw.
//!
//! ```text
//! work     what it does, call by call       table  a cache that is opened again when its table is another one
//! log      its history, a line a call       said   what it tells whoever started it
//! ```
//! It obeys lines on its standard input: `go`, `stop` (flush), `settle` (catch up, write down what is held), `well`, `suspend MILLIS`.

mod log;
mod said;
mod table;
mod work;

pub(crate) use said::{Counts, Said};

use crate::history::Event;
use cache_sync::Client;
use cache_sync_kit::{CommandLine, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::task::JoinSet;
use work::Work;

/// How long a call may take that asks Postgres.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For how long one of the nodes serves what it cannot confirm, and says so.
const STALE_MAX: Duration = Duration::from_secs(4);
/// For how long the same node serves what was before a change, while it loads what is now.
const REFRESHING_MAX: Duration = Duration::from_millis(300);
/// How long what is buffered may take when nothing disturbs any more.
pub(crate) const SETTLE_MAX: Duration = Duration::from_secs(45);
/// Tasks that work side by side.
const TASKS: u64 = 8;

const LINE: CommandLine<'_> = CommandLine {
    valued: &["--dsn", "--standby", "--history", "--number", "--seed", "--bound-ms"],
    alone: &["--serves-stale", "--only-reads"],
    usage: "usage: cache-sync-torture node --dsn DSN --history FILE --number N --seed N --bound-ms N [--standby DSN] [--serves-stale] [--only-reads]",
};

/// What a node is to do.
#[derive(Clone, Debug)]
pub(crate) struct NodeArguments {
    pub(crate) dsn: String,
    pub(crate) standby: Option<String>,
    pub(crate) history: PathBuf,
    /// From 1 on: also the column that it adds to.
    pub(crate) number: u32,
    pub(crate) seed: u64,
    pub(crate) bound: Duration,
    pub(crate) serves_stale: bool,
    pub(crate) only_reads: bool,
}

impl NodeArguments {
    /// As command line.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args = vec!["node".to_owned()];
        let mut say = |name: &str, value: String| args.extend([name.to_owned(), value]);
        say("--dsn", self.dsn.clone());
        say("--history", self.history.display().to_string());
        say("--number", self.number.to_string());
        say("--seed", self.seed.to_string());
        say("--bound-ms", self.bound.as_millis().to_string());
        if let Some(standby) = &self.standby {
            say("--standby", standby.clone());
        }
        args.extend(self.serves_stale.then(|| "--serves-stale".to_owned()));
        args.extend(self.only_reads.then(|| "--only-reads".to_owned()));
        args
    }

    fn parse(args: &[String]) -> Result<NodeArguments> {
        let values = LINE.parse(args)?;
        Ok(NodeArguments {
            dsn: values.must("--dsn")?,
            standby: values.maybe("--standby")?,
            history: values.must("--history")?,
            number: values.must("--number")?,
            seed: values.must("--seed")?,
            bound: Duration::from_millis(values.must("--bound-ms")?),
            serves_stale: values.has("--serves-stale"),
            only_reads: values.has("--only-reads"),
        })
    }

    async fn connect(&self) -> Result<Client> {
        let mut builder = Client::builder(&self.dsn).feed_timeout(self.bound);
        builder = builder.query_timeout(QUERY_TIMEOUT).connect_timeout(CONNECT_TIMEOUT);
        if self.serves_stale {
            builder = builder.stale_while_unavailable(STALE_MAX);
        }
        if let Some(standby) = &self.standby {
            builder = builder.standby(standby);
        }
        Ok(builder.connect().await?)
    }
}

/// Runs a node until its standard input ends.
pub(crate) async fn main(args: &[String]) -> Result<bool> {
    let arguments = NodeArguments::parse(args)?;
    let client = arguments.connect().await?;
    let work = Arc::new(Work::new(&client, &arguments).await?);
    work.begin_to_watch();
    Said::Ready.send()?;
    let mut lines = BufReader::new(stdin()).lines();
    let mut tasks = JoinSet::new();
    let mut rounds = 0;
    while let Some(line) = lines.next_line().await? {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("go", _) => {
                work.set_running(true);
                rounds += 1;
                for task in 0..TASKS {
                    tasks.spawn(work.clone().run(arguments.seed ^ (rounds << 20) ^ (task << 40)));
                }
                tasks.spawn(work.clone().run_at_pace(arguments.seed ^ (rounds << 20)));
                tasks.spawn(work.clone().glance());
            }
            ("stop", _) => {
                work.set_running(false);
                while let Some(ended) = tasks.join_next().await {
                    ended?;
                }
                // What does not get there shows in what is left.
                let flushed = tokio::time::timeout(SETTLE_MAX, client.flush()).await;
                let unheard = work.outcomes_heard().await;
                let buffered = client.status().buffered as u64;
                work.log.write(&Event::Left { unheard, buffered })?;
                Said::Stopped { is_flushed: matches!(flushed, Ok(Ok(()))) }.send()?;
            }
            ("settle", _) => {
                let caught_up = tokio::time::timeout(SETTLE_MAX, until_caught_up(&client)).await;
                work.write_held().await?;
                Said::Settled { is_caught_up: caught_up.is_ok(), counts: work.counts(&client) }.send()?;
            }
            ("well", _) => {
                let work = work.clone();
                tokio::spawn(async move { Said::Well(work.is_well().await).send() });
            }
            ("suspend", millis) => client.suspend(Duration::from_millis(millis.parse()?)),
            _ => return Err(format!("unknown command {line}").into()),
        }
    }
    Ok(true)
}

async fn until_caught_up(client: &Client) {
    while client.catch_up().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
