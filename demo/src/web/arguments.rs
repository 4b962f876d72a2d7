//! The command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use cache_sync_kit::{CommandLine, Result};

use super::calculator::Benched;
use crate::arguments::{USAGE, within};

const LINE: CommandLine<'_> = CommandLine {
    valued: &["--port", "--listen", "--seconds", "--reads", "--writes", "--bench"],
    alone: &["--web"],
    usage: USAGE,
};

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    pub(crate) listen: SocketAddr,
    /// How long it lasts; else until it is interrupted.
    pub(crate) seconds: Option<u64>,
    /// A second, of each node.
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// What was benched before.
    pub(crate) bench: Benched,
}

impl Arguments {
    pub(crate) fn parse(args: &[String]) -> Result<Arguments> {
        let values = LINE.parse(args)?;
        let address: IpAddr = values.or("--listen", Ipv4Addr::LOCALHOST.into())?;
        let bench: Option<PathBuf> = values.maybe("--bench")?;
        Ok(Arguments {
            listen: SocketAddr::new(address, values.or("--port", 0)?),
            seconds: if values.has("--seconds") { Some(within(&values, "--seconds", 0, 3..=86_400)?) } else { None },
            reads: within(&values, "--reads", 1500, 100..=20_000)?,
            writes: within(&values, "--writes", 15, 1..=1000)?,
            bench: bench.map(|file| Benched::read(&file)).transpose()?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> std::result::Result<Arguments, String> {
        let args: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&args).map_err(|error| error.to_string())
    }

    #[test]
    fn it_listens_to_this_machine_alone_unless_told_otherwise() {
        assert_eq!(parse("--web").unwrap().listen.to_string(), "127.0.0.1:0");
        assert_eq!(parse("--web --port 8080 --listen 0.0.0.0").unwrap().listen.to_string(), "0.0.0.0:8080");
        assert_eq!(parse("--web").unwrap().seconds, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(parse("--web --port 70000").unwrap_err(), "--port cannot be 70000");
        assert_eq!(parse("--web --reads 1").unwrap_err(), "--reads is 1; it must be from 100 to 20000");
        assert_eq!(parse("--web --seconds 1").unwrap_err(), "--seconds is 1; it must be from 3 to 86400");
        assert!(parse("--web --bench /nowhere/report.json").unwrap_err().starts_with("/nowhere/report.json: "));
        assert!(parse("--web --nodes 3").unwrap_err().starts_with("--nodes is not known"));
    }
}
