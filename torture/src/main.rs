//! Long runs under random faults.
//!
//! ```text
//! soak     random statements of all kinds, nodes, kills, and quiet points at which every entry must equal its row
//! ordeal   node processes, plain writers and faults of every kind, which leave histories
//! history  whether what happened may have happened so: pure functions of histories
//! node     a process of the ordeal's           tables  what it works on
//! faults   what goes wrong, by seed
//! ```
#![forbid(unsafe_code)]

mod faults;
mod history;
mod node;
mod ordeal;
mod soak;
mod tables;

use cache_sync_kit::{CommandLine, Result, exit, write_json};
use faults::Choice;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str =
    "usage: cargo xtask torture [--minutes N | --seconds N] [--seed N] [--faults NAME,...] [--json FILE]
  --minutes N, --seconds N   how long (default 5 minutes): a third of it for random statements, the rest for histories
  --seed N                   which random numbers, and so which faults (default: others each time; it is printed)
  --faults NAME,...          histories alone, and these faults alone
  --json FILE                writes the figures there";

const LINE: CommandLine<'_> =
    CommandLine { valued: &["--minutes", "--seconds", "--seed", "--faults", "--json"], alone: &[], usage: USAGE };

struct Arguments {
    time: Duration,
    seed: u64,
    faults: Option<Choice>,
    json: Option<PathBuf>,
}

impl Arguments {
    fn parse(args: &[String]) -> Result<Arguments> {
        let values = LINE.parse(args)?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seconds = values.or("--seconds", 60 * values.or("--minutes", 5_u64)?)?;
        Ok(Arguments {
            time: Duration::from_secs(seconds.max(1)),
            seed: values.or("--seed", now.as_nanos() as u64 >> 16)?.max(1),
            faults: values.text("--faults").map(Choice::parse).transpose()?,
            json: values.maybe("--json")?,
        })
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|role| role == "node") {
        return exit::code("node", runtime().and_then(|runtime| runtime.block_on(node::main(&args[1..]))));
    }
    match Arguments::parse(&args) {
        Ok(arguments) => exit::code("torture", run(&arguments)),
        Err(error) => exit::misused(&error),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Whether all was well.
fn run(arguments: &Arguments) -> Result<bool> {
    println!("seed {}", arguments.seed);
    let runtime = runtime()?;
    let (mut is_well, mut figures) = (true, json!({"seed": arguments.seed}));
    let mut time = arguments.time;
    if arguments.faults.is_none() {
        let report = runtime.block_on(soak::run(time / 3, arguments.seed))?;
        report.print();
        is_well &= report.is_well();
        figures["statements"] = report.json();
        time -= time / 3;
    }
    let choice = arguments.faults.clone().unwrap_or_default();
    let report = runtime.block_on(ordeal::run(time, arguments.seed, &choice))?;
    report.print();
    is_well &= report.is_well();
    figures["histories"] = report.json();
    figures["is_well"] = Value::Bool(is_well);
    if let Some(file) = &arguments.json {
        write_json(file, &figures)?;
    }
    Ok(is_well)
}
