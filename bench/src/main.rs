//! The figures to hold, each measured against what it is compared with, in one run with alternating sides.
//!
//! ```text
//! memory   hits, buffered writes        loads    misses        flush    batches against a plain upsert
//! merge    every rule against a plain upsert                   batches  the two sides of both
//! poison   batches with patches that Postgres refuses
//! writers  plain SQL writers, with listeners, against an untouched table and a pg_notify trigger
//! side     tables of one kind, their writers and listeners     turns    two sides' writers that take turns
//! latency  commit seen by another process                      bulk     a million rows
//! cpu      what a server took of the processors                idle     a trigger that does nothing
//! measure  alternating rounds, medians  report   the table, the JSON     load   clients that write and listen
//! ```
#![forbid(unsafe_code)]

mod batches;
mod bulk;
mod cpu;
mod flush;
mod idle;
mod latency;
mod load;
mod loads;
mod measure;
mod memory;
mod merge;
mod poison;
mod report;
mod side;
mod turns;
mod writers;

use cache_sync_cluster::Options;
use measure::Rounds;
use report::Report;
use std::process::ExitCode;

/// Errors end the run; whatever they are, they are only shown.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str =
    "usage: cargo xtask bench [NAME ...] [--rounds N] [--seconds N] [--full] [--listeners N,...] [--json FILE]
  NAME: memory loads flush merge poison writers latency bulk, or feed for the last three (default: all)
  --full: writers also with 1 and 8 of them
  --listeners: writers only with so many listeners, of 0,1,32,128";

const ALL: [&str; 8] = ["memory", "loads", "flush", "merge", "poison", "writers", "latency", "bulk"];

struct Arguments {
    names: Vec<String>,
    rounds: Rounds,
    writers: writers::Scope,
    json: Option<String>,
}

/// What the feed costs and how soon it tells.
const FEED: [&str; 3] = ["writers", "latency", "bulk"];

fn arguments() -> std::result::Result<Arguments, String> {
    let rounds = Rounds { count: 5, seconds: 3.0 };
    let mut arguments = Arguments { names: Vec::new(), rounds, writers: writers::Scope::default(), json: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--json" => arguments.json = Some(value()?),
            "--rounds" => arguments.rounds.count = value()?.parse().map_err(|_| "--rounds needs a number")?,
            "--seconds" => arguments.rounds.seconds = value()?.parse().map_err(|_| "--seconds needs a number")?,
            "--full" => arguments.writers.full = true,
            "--listeners" => arguments.writers.listeners = writers::listeners(&value()?)?,
            "feed" => arguments.names.extend(FEED.map(str::to_owned)),
            name if ALL.contains(&name) => arguments.names.push(name.to_owned()),
            other => return Err(format!("{other}?\n{USAGE}")),
        }
    }
    if arguments.names.is_empty() {
        arguments.names = ALL.map(str::to_owned).to_vec();
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    if let Some("listen") = std::env::args().nth(1).as_deref() {
        return finish(latency::listen());
    }
    match arguments() {
        Ok(arguments) => finish(run(&arguments)),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn finish(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A cluster for benchmarks: fsync is on, as it is for those who measure themselves.
pub(crate) fn options() -> Options {
    Options::default()
        // Two sides with 128 listeners and 32 writers each, and those of the round before that are still leaving.
        .setting("max_connections", "700")
        .setting("shared_buffers", "512MB")
        .setting("max_wal_size", "4GB")
        .setting("checkpoint_timeout", "1h")
        .setting("autovacuum", "off")
}

fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cluster = options().start()?;
    let mut report = Report::default();
    for name in &arguments.names {
        let database = format!("bench_{name}");
        cluster.createdb(&database)?;
        cluster.psql(&database, "CREATE EXTENSION cache_sync")?;
        let rounds = arguments.rounds;
        match name.as_str() {
            "memory" => runtime.block_on(memory::run(&cluster.dsn(&database), rounds, &mut report))?,
            "loads" => runtime.block_on(loads::run(&cluster.dsn(&database), rounds, &mut report))?,
            "flush" => runtime.block_on(flush::run(&cluster.dsn(&database), rounds, &mut report))?,
            "merge" => runtime.block_on(merge::run(&cluster.dsn(&database), rounds, &mut report))?,
            "poison" => runtime.block_on(poison::run(&cluster.dsn(&database), rounds, &mut report))?,
            "writers" => {
                runtime.block_on(writers::run(&cluster, &database, (rounds, &arguments.writers), &mut report))?
            }
            "latency" => runtime.block_on(latency::run(&cluster, &database, rounds, &mut report))?,
            _ => runtime.block_on(bulk::run(&cluster.dsn(&database), rounds, &mut report))?,
        }
    }
    report.print();
    if let Some(file) = &arguments.json {
        report.write_json(file)?;
    }
    Ok(())
}
