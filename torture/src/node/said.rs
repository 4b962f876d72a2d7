//! What a node tells whoever started it, one JSON object per line of its standard output.

use cache_sync_kit::Result;
use serde::{Deserialize, Serialize};
use std::io::Write;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// Connected, and its caches are open.
    Ready,
    /// Whether the feed is heard and reads are answered.
    Well(bool),
    /// Nothing acts any more; whether all that it had accepted has an outcome.
    Stopped { is_flushed: bool },
    /// Its history is complete up to here.
    Settled { is_caught_up: bool, counts: Counts },
}

/// What it did since its start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) reads: u64,
    pub(crate) queries: u64,
    pub(crate) writes: u64,
    pub(crate) catch_ups: u64,
    /// Writes that waited for what Postgres decides.
    pub(crate) decided: u64,
    /// What watchers were shown.
    pub(crate) watched: u64,
    /// Calls that were dropped before they ended.
    pub(crate) given_up: u64,
    pub(crate) unavailable: u64,
    /// Caches that were opened again.
    pub(crate) opened_again: u64,
    pub(crate) hits: u64,
    pub(crate) loads: u64,
    pub(crate) gaps: u64,
    pub(crate) standby_loads: u64,
    /// The longest that a call took, in milliseconds.
    pub(crate) longest_ms: u64,
    /// Errors that no fault explains.
    pub(crate) unexpected: Vec<String>,
}

impl Said {
    pub(crate) fn send(&self) -> Result<()> {
        let mut line = serde_json::to_string(self)?;
        line.push('\n');
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes())?;
        Ok(out.flush()?)
    }
}
