//! Long runs under random faults.
//!
//! ```text
//! soak        statements, nodes, kills, and quiet points at which every entry must equal its row
//! statements  random statements of all kinds        writers  the connections that run them
//! nodes       clients with caches, which read and write too
//! kills       what is done to the server            report   what is printed
//! ```
#![forbid(unsafe_code)]

mod kills;
mod nodes;
mod report;
mod soak;
mod statements;
mod writers;

use cache_sync_kit::{CommandLine, Result, exit, write_json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: cargo xtask torture [--seconds N] [--seed N] [--json FILE]
  --seconds N   how long (default 300)
  --seed N      which random numbers (default: another one each time; it is printed)
  --json FILE   writes the figures there";

const LINE: CommandLine<'_> = CommandLine { valued: &["--seconds", "--seed", "--json"], alone: &[], usage: USAGE };

struct Arguments {
    seconds: u64,
    seed: u64,
    json: Option<PathBuf>,
}

impl Arguments {
    fn parse(args: &[String]) -> Result<Arguments> {
        let values = LINE.parse(args)?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Arguments {
            seconds: values.or("--seconds", 300)?.max(1),
            seed: values.or("--seed", now.as_nanos() as u64 | 1)?.max(1),
            json: values.maybe("--json")?,
        })
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match Arguments::parse(&args) {
        Ok(arguments) => exit::code("torture", run(&arguments)),
        Err(error) => exit::misused(&error),
    }
}

/// Whether all was well.
fn run(arguments: &Arguments) -> Result<bool> {
    println!("seed {}", arguments.seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(soak::run(Duration::from_secs(arguments.seconds), arguments.seed))?;
    report.print();
    if let Some(file) = &arguments.json {
        write_json(file, &report.json())?;
    }
    Ok(report.is_well())
}
