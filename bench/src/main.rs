//! The figures to hold, each measured against what it is compared with, in one run with alternating sides.
//!
//! ```text
//! hit        reads of what is held        hit_rate how many reads hit        trace    which keys are read
//! memory     buffered writes              reads    misses        flush    batches against a plain upsert
//! merge      every rule against a plain upsert                   batches  the two sides of both
//! poison     batches with patches that Postgres refuses          snapshot   loads and batches while a snapshot is held
//! ddl        DDL of what is not attached, and attaching
//! writers    plain SQL writers, with listeners, against an untouched table and a pg_notify trigger
//! side       tables of one kind, their writers and listeners     turns    two sides' writers that take turns
//! listeners  clients that listen                                 latency  commit seen by another process
//! bulk       a million rows                                      idle     a trigger that does nothing
//! measure    alternating rounds                                  report   the table, the JSON
//! packed     documents packed, against jsonb              live     rows that are watched, or changed by many
//! peers      other ways to do the same                    cpu      what a server took of the processors
//! ```
#![forbid(unsafe_code)]

mod batches;
mod bulk;
mod cpu;
mod ddl;
mod flush;
mod hit;
mod hit_rate;
mod idle;
mod latency;
mod listeners;
mod live;
mod measure;
mod memory;
mod merge;
mod packed;
mod peers;
mod poison;
mod reads;
mod report;
mod side;
mod snapshot;
mod trace;
mod turns;
mod writers;

use cache_sync_cluster::Options;
use cache_sync_kit::{CommandLine, During, Result, exit, write_json};
use measure::Rounds;
use report::Report;
use serde_json::json;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::runtime::Runtime;

const USAGE: &str =
    "usage: cargo xtask bench [NAME ...] [--rounds N] [--seconds N] [--full] [--listeners N,...] [--json FILE]
       cargo xtask bench peers [--only SHAPE,...] [--rows N] [--rounds N] [--seconds N] [--json FILE] [--markdown FILE]
  NAME: hit memory reads live packed flush merge poison snapshot ddl writers latency bulk, or feed for the last three (default: all)
  --full: writers also with 1 and 8 of them
  --listeners: writers only with so many listeners, of 0,1,32,128
  peers: other ways to read and write the same rows, Redis and others; fails if cache_sync has lost a write, or read beyond its bound
  --only: of the shapes A,B,C,one,D,F,add,sql
  --rows: how many there are (default: 20000)
  --markdown: the tables for a document";

const ALL: [&str; 13] = [
    "hit", "memory", "reads", "live", "packed", "flush", "merge", "poison", "snapshot", "ddl", "writers", "latency",
    "bulk",
];
/// What the feed costs and how soon it tells.
const FEED: [&str; 3] = ["writers", "latency", "bulk"];
const LINE: CommandLine<'_> = CommandLine {
    valued: &["--rounds", "--seconds", "--listeners", "--only", "--rows", "--json", "--markdown"],
    alone: &[
        "hit", "memory", "reads", "live", "packed", "flush", "merge", "poison", "snapshot", "ddl", "writers",
        "latency", "bulk", "feed", "peers", "--full",
    ],
    usage: USAGE,
};

struct Arguments {
    names: Vec<&'static str>,
    rounds: Rounds,
    writers: writers::Scope,
    /// Where these are asked for.
    peers: Option<peers::Scope>,
    json: Option<PathBuf>,
}

impl Arguments {
    fn parse(args: &[String]) -> Result<Arguments> {
        let values = LINE.parse(args)?;
        let mut names = Vec::new();
        for name in values.names() {
            match name {
                "feed" => names.extend(FEED),
                _ => names.extend(ALL.iter().find(|of| **of == name)),
            }
        }
        if names.is_empty() && !values.has("peers") {
            names.extend(ALL);
        }
        let peers = peers::Scope::parse(&values)?;
        let listeners = values.text("--listeners").map(writers::audiences).transpose()?;
        Ok(Arguments {
            names,
            rounds: Rounds::parse(&values)?,
            writers: writers::Scope::new(values.has("--full"), listeners),
            peers,
            json: values.maybe("--json")?,
        })
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &args[..] {
        // What it runs of itself as other processes.
        match first.as_str() {
            "listen" => return exit::code("bench", latency::listen(rest).map(|()| true)),
            "watch" => return exit::code("bench", live::watch(rest).map(|()| true)),
            "peer" => return exit::code("bench", peers::child(rest).map(|()| true)),
            "contend" => return exit::code("bench", live::contend(rest).map(|()| true)),
            _ => {}
        }
    }
    match Arguments::parse(&args) {
        Ok(arguments) => exit::code("bench", run(&arguments)),
        Err(error) => exit::misused(&error),
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

fn run(arguments: &Arguments) -> Result<bool> {
    let markdown = arguments.peers.as_ref().and_then(peers::Scope::markdown);
    // Rather now than after all has been measured.
    for file in [arguments.json.as_deref(), markdown].into_iter().flatten() {
        can_be_written(file)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut report = Report::default();
    if !arguments.names.is_empty() {
        run_on_one_cluster(arguments, &runtime, &mut report)?;
    }
    let peers = match &arguments.peers {
        Some(scope) => Some(runtime.block_on(peers::run(scope, arguments.rounds, &mut report))?),
        None => None,
    };
    report.print();
    if let Some(file) = &arguments.json {
        let json = match &peers {
            Some(peers) => json!({"rows": report.json(), "peers": peers.json}),
            None => report.json(),
        };
        write_json(file, &json)?;
    }
    Ok(peers.is_none_or(|peers| peers.is_right))
}

/// Creates the file unless it is there. What is in it stays until there is something new.
fn can_be_written(file: &Path) -> Result<()> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(file);
    opened.map(drop).during(|| file.display().to_string())
}

fn run_on_one_cluster(arguments: &Arguments, runtime: &Runtime, report: &mut Report) -> Result<()> {
    let cluster = options().start()?;
    for &name in &arguments.names {
        let database = format!("bench_{name}");
        cluster.createdb(&database)?;
        cluster.psql(&database, "CREATE EXTENSION cache_sync")?;
        let rounds = arguments.rounds;
        match name {
            "hit" => runtime.block_on(hit::run(&cluster.dsn(&database), rounds, report))?,
            "memory" => runtime.block_on(memory::run(&cluster.dsn(&database), rounds, report))?,
            "reads" => runtime.block_on(reads::run(&cluster, &database, rounds, report))?,
            "live" => runtime.block_on(live::run(&cluster, &database, rounds, report))?,
            "packed" => runtime.block_on(packed::run(&cluster.dsn(&database), rounds, report))?,
            "flush" => runtime.block_on(flush::run(&cluster.dsn(&database), rounds, report))?,
            "merge" => runtime.block_on(merge::run(&cluster.dsn(&database), rounds, report))?,
            "poison" => runtime.block_on(poison::run(&cluster.dsn(&database), rounds, report))?,
            "writers" => {
                let (cluster, database, scope) = (&cluster, &*database, &arguments.writers);
                runtime.block_on(writers::Bench { cluster, database, rounds, scope }.run(report))?
            }
            "snapshot" => runtime.block_on(snapshot::run(&cluster, &database, rounds, report))?,
            "ddl" => runtime.block_on(ddl::run(&cluster, &database, rounds, report))?,
            "latency" => runtime.block_on(latency::run(&cluster, &database, rounds, report))?,
            _ => runtime.block_on(bulk::run(&cluster.dsn(&database), rounds, report))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(words: &str) -> String {
        let args: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&args).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(refused("peers --only C,F --rows 500 --markdown x --rounds 1 --seconds 0.5"), "");
        for option in ["--only C", "--rows 500", "--markdown x"] {
            let name = option.split(' ').next().unwrap_or_default();
            let why = format!("{name} says something of peers, which are not asked for");
            assert_eq!((refused(option), refused(&format!("hit {option}"))), (why.clone(), why));
        }
        assert_eq!(refused("hit --rounds 0"), "--rounds is 0; it must be from 1 to 1000");
        for seconds in ["0", "-1", "nan", "inf", "3601"] {
            let why = format!("--seconds is {seconds}; it must be above 0, and 3600 at most");
            assert_eq!(refused(&format!("hit --seconds {seconds}")).to_lowercase(), why);
        }
        assert_eq!(refused("peers --rows 7"), "--rows must be from 100 to 1000000, and not a multiple of 7919");
        assert_eq!(refused("peers --only E"), "--only takes A, B, C, one, D, F, add and sql, not E");
    }

    #[test]
    fn what_cannot_be_written_is_told_before_anything_is_measured() {
        let words = ["peers", "--markdown", "/nowhere/x.md"].map(str::to_owned);
        let error = run(&Arguments::parse(&words).expect("a command line")).expect_err("no such directory");
        assert!(error.to_string().starts_with("/nowhere/x.md: "), "{error}");
    }
}
