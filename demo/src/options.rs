//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use crate::Result;

/// How to use the orchestrator.
pub(crate) const USAGE: &str = "\
usage: demo [--seconds N] [--nodes N] [--scale N] [--json FILE] [--keep]
  --seconds N   how long each of the two runs lasts (default 30)
  --nodes N     how many processes use the SDK (default 2)
  --scale N     pgbench's scale: N times 100,000 accounts (default 10)
  --json FILE   writes checks and figures there
  --keep        leaves the cluster up and says how to look around";

/// What the orchestrator was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seconds: u64,
    pub(crate) nodes: usize,
    pub(crate) scale: u32,
    pub(crate) json: Option<PathBuf>,
    pub(crate) keep: bool,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Options> {
        let values = Values::parse(args, &["--keep", "--help"])?;
        if values.has("--help") {
            return Err(USAGE.into());
        }
        values.only(&["--seconds", "--nodes", "--scale", "--json", "--keep"])?;
        Ok(Options {
            seconds: values.or("--seconds", 30, 3, 86_400)?,
            nodes: values.or("--nodes", 2, 2, 64)?,
            scale: values.or("--scale", 10, 1, 1000)?,
            json: values.text("--json").map(PathBuf::from),
            keep: values.has("--keep"),
        })
    }
}

/// `--name value` pairs, and names that stand alone.
#[derive(Debug)]
pub(crate) struct Values(Vec<(String, String)>);

impl Values {
    /// Takes the command line apart; `alone` are the names that take no value.
    pub(crate) fn parse(args: &[String], alone: &[&str]) -> Result<Values> {
        let mut values = Vec::new();
        let mut args = args.iter();
        while let Some(name) = args.next() {
            let value = match alone.contains(&name.as_str()) {
                true => String::new(),
                false => args.next().ok_or_else(|| format!("{name} wants a value\n{USAGE}"))?.clone(),
            };
            values.push((name.clone(), value));
        }
        Ok(Values(values))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// A value that must be there.
    pub(crate) fn must<T: FromStr>(&self, name: &str) -> Result<T> {
        let text = self.text(name).ok_or_else(|| format!("{name} is missing"))?;
        text.parse().map_err(|_| format!("{name} cannot be {text}").into())
    }

    fn or<T: FromStr + PartialOrd + std::fmt::Display>(&self, name: &str, default: T, min: T, max: T) -> Result<T> {
        let value = if self.has(name) { self.must(name)? } else { default };
        if value < min || value > max {
            return Err(format!("{name} is {value}; it must be from {min} to {max}").into());
        }
        Ok(value)
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(format!("{name} is not known\n{USAGE}").into()),
            None => Ok(()),
        }
    }
}
