//! Long runs under random faults.
//!
//! ```text
//! soak        statements, nodes, kills, and quiet points at which every entry must equal its row
//! statements  random statements of all kinds        writers  the connections that run them
//! nodes       clients with caches, which read and write too
//! kills       what is done to the server            report   what is printed
//! dice        random numbers that can be drawn again
//! ```
#![forbid(unsafe_code)]

mod dice;
mod kills;
mod nodes;
mod report;
mod soak;
mod statements;
mod writers;

use std::process::ExitCode;
use std::time::Duration;

/// Errors end the run; whatever they are, they are only shown.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: cargo xtask torture [--seconds N] [--seed N] [--json FILE]
  --seconds N   how long (default 300)
  --seed N      which random numbers (default: another one each time; it is printed)
  --json FILE   writes the figures there";

struct Arguments {
    seconds: u64,
    seed: u64,
    json: Option<String>,
}

fn arguments() -> std::result::Result<Arguments, String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut arguments = Arguments { seconds: 300, seed: now.as_nanos() as u64 | 1, json: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value\n{USAGE}"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number\n{USAGE}"));
        match word.as_str() {
            "--seconds" => arguments.seconds = number(value()?)?.max(1),
            "--seed" => arguments.seed = number(value()?)?.max(1),
            "--json" => arguments.json = Some(value()?),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was well.
fn run(arguments: &Arguments) -> Result<bool> {
    println!("seed {}", arguments.seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(soak::run(Duration::from_secs(arguments.seconds), arguments.seed))?;
    report.print();
    if let Some(file) = &arguments.json {
        report.write_json(file)?;
    }
    Ok(report.is_well())
}
