//! A process that uses the SDK: reads Zipf-distributed accounts, adds 1 to some, and writes down what it did.

mod log;
mod ops;
mod probe;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_sync::{Cache, Client};
use cache_sync_kit::{CommandLine, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use crate::arguments::USAGE;
use crate::keys::Keys;
use crate::message::{Counts, Message};
pub(crate) use ops::WATCHED;
use ops::Work;
pub(crate) use probe::probed;

/// How long a node may take to write what it has buffered, once it is told to stop.
const FLUSH_DEADLINE: Duration = Duration::from_secs(60);

const LINE: CommandLine<'_> = CommandLine {
    valued: &["--dsn", "--log", "--seed", "--accounts", "--updates-percent", "--bound-ms"],
    alone: &["--muted"],
    usage: USAGE,
};

/// A row of pgbench_accounts, filler column included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) bid: Option<i32>,
    pub(crate) abalance: Option<i32>,
    pub(crate) filler: Option<String>,
}

/// An entry as a node held it at the end; `account` is none for a known absence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) aid: i32,
    pub(crate) account: Option<Account>,
}

/// The cache that a node works with.
type Accounts = Cache<i32, Account>;

/// What the orchestrator wants of this node.
#[derive(Debug, Clone)]
pub(crate) struct NodeArguments {
    pub(crate) dsn: String,
    /// Where intents, acceptances, outcomes and reads are written down.
    pub(crate) log: PathBuf,
    pub(crate) seed: u64,
    /// How many accounts there are.
    pub(crate) accounts: u32,
    /// How much of the work is updates, in percent.
    pub(crate) updates_percent: u32,
    /// Whether the node turns a deaf ear to changes.
    pub(crate) muted: bool,
    /// How long the feed may be silent: the bound on staleness.
    pub(crate) bound: Duration,
}

impl NodeArguments {
    /// As command line.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args: Vec<String> = vec!["node".into()];
        for (name, value) in [
            ("--dsn", self.dsn.clone()),
            ("--log", self.log.display().to_string()),
            ("--seed", self.seed.to_string()),
            ("--accounts", self.accounts.to_string()),
            ("--updates-percent", self.updates_percent.to_string()),
            ("--bound-ms", self.bound.as_millis().to_string()),
        ] {
            args.extend([name.to_owned(), value]);
        }
        if self.muted {
            args.push("--muted".into());
        }
        args
    }

    fn parse(args: &[String]) -> Result<NodeArguments> {
        let values = LINE.parse(args)?;
        Ok(NodeArguments {
            dsn: values.must("--dsn")?,
            log: values.must("--log")?,
            seed: values.must("--seed")?,
            accounts: values.must("--accounts")?,
            updates_percent: values.must("--updates-percent")?,
            muted: values.has("--muted"),
            bound: Duration::from_millis(values.must("--bound-ms")?),
        })
    }
}

/// Runs a node until its standard input ends.
pub(crate) async fn main(args: &[String]) -> Result<()> {
    let arguments = NodeArguments::parse(args)?;
    let client = Client::builder(&arguments.dsn).feed_timeout(arguments.bound).connect().await?;
    let capacity = u64::from(arguments.accounts.min(100_000));
    let accounts: Accounts = client.cache("pgbench_accounts").max_capacity(capacity).open().await?;
    if arguments.muted {
        client.mute_feed(true);
    }
    let work = Arc::new(Work::new(accounts.clone(), Keys::new(arguments.accounts), &arguments)?);
    Message::Ready.send()?;

    let mut commands = BufReader::new(stdin()).lines();
    let mut tasks = Vec::new();
    let mut counting = tokio::time::interval(Duration::from_secs(1));
    loop {
        let line = tokio::select! {
            line = commands.next_line() => line?,
            _ = counting.tick() => {
                Message::Counts(counts(&client, &accounts, &work)).send()?;
                continue;
            }
        };
        let Some(line) = line else { return Ok(()) };
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("go", _) => {
                tasks = ops::start(&work, &arguments);
                probe::start(accounts.clone(), arguments.accounts, Arc::clone(&work));
            }
            ("stop", _) => {
                work.stop();
                for task in tasks.drain(..) {
                    task.await??;
                }
                tokio::time::timeout(FLUSH_DEADLINE, client.flush()).await??;
                work.outcomes_known(FLUSH_DEADLINE).await?;
                Message::Counts(counts(&client, &accounts, &work)).send()?;
                Message::Stopped.send()?;
            }
            ("dump", file) => {
                client.catch_up().await?;
                let entries = dump(&accounts, file)?;
                Message::Dumped { entries, latencies: work.latencies() }.send()?;
            }
            _ => return Err(format!("unknown command {line}").into()),
        }
    }
}

fn counts(client: &Client, accounts: &Accounts, work: &Work) -> Counts {
    let status = accounts.status();
    Counts {
        // The probe's glances are hits too, but nobody's reads.
        hits: status.hits.saturating_sub(work.glances()),
        misses: status.misses,
        statements: status.load_statements + status.batches + status.flush_retries,
        changes: status.changes,
        buffered: client.status().buffered as u64,
        ..work.counts()
    }
}

/// Writes every entry held to a file, one JSON object per line.
fn dump(accounts: &Accounts, file: &str) -> Result<u64> {
    use std::io::Write;
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    let entries = accounts.entries();
    for (aid, account) in &entries {
        let held = Held { aid: *aid, account: account.as_deref().cloned() };
        serde_json::to_writer(&mut out, &held)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(entries.len() as u64)
}
