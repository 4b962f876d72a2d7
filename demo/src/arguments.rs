//! The command line.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use cache_sync_kit::{CommandLine, Result, Values};

/// How to use the orchestrator.
pub(crate) const USAGE: &str = "\
usage: demo [--seconds N] [--nodes N] [--scale N] [--json FILE] [--keep]
       demo --web [--port N] [--listen ADDRESS] [--seconds N] [--reads N] [--writes N] [--bench FILE]
  --seconds N   how long each of the two runs lasts (default 30)
  --nodes N     how many processes use the SDK (default 2)
  --scale N     pgbench's scale: N times 100,000 accounts (default 10)
  --json FILE   writes checks and figures there
  --keep        leaves the cluster up and says how to look around
  --web         a page to look at: live figures beside Redis, things to break, rows to edit
    --port N         where the page is (default: a free port)
    --listen ADDRESS lets other machines look, too, which call this one by its address, not by a name (default 127.0.0.1)
    --seconds N      ends it (default: when it is interrupted)
    --reads N        reads a second of each of the four processes (default 1500)
    --writes N       writes a second of each of them (default 15)
    --bench FILE     times for the page's calculator, from `bench hit reads --json FILE`";

const LINE: CommandLine<'_> =
    CommandLine { valued: &["--seconds", "--nodes", "--scale", "--json"], alone: &["--keep"], usage: USAGE };

/// What the orchestrator was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    pub(crate) seconds: u64,
    pub(crate) nodes: usize,
    pub(crate) scale: u32,
    pub(crate) json: Option<PathBuf>,
    pub(crate) keep: bool,
}

impl Arguments {
    pub(crate) fn parse(args: &[String]) -> Result<Arguments> {
        let values = LINE.parse(args)?;
        Ok(Arguments {
            seconds: within(&values, "--seconds", 30, 3..=86_400)?,
            nodes: within(&values, "--nodes", 2, 2..=64)?,
            scale: within(&values, "--scale", 10, 1..=1000)?,
            json: values.maybe("--json")?,
            keep: values.has("--keep"),
        })
    }
}

/// A value of a command line that has bounds.
pub(crate) fn within<T: FromStr + PartialOrd + Display>(
    values: &Values,
    name: &str,
    default: T,
    bounds: RangeInclusive<T>,
) -> Result<T> {
    let value = values.or(name, default)?;
    if !bounds.contains(&value) {
        return Err(format!("{name} is {value}; it must be from {} to {}", bounds.start(), bounds.end()).into());
    }
    Ok(value)
}
