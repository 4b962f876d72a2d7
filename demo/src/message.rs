//! What the processes tell the orchestrator, one JSON object per line of their standard output; it tells them what to do
//! on their standard input, one word per line.

use std::io::Write;

use cache_sync_kit::{Histogram, Result};
use serde::{Deserialize, Serialize};

/// A line from a child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The child is connected.
    Ready,
    /// Counts since the start, every second.
    Counts(Counts),
    /// The sampler committed a change of the probed row, and this is when the reply came.
    Committed { version: i64, at_ns: i64 },
    /// The node no longer held the probed row as it was; what it loaded then had this version.
    Dropped { version: i64, at_ns: i64 },
    /// The work has stopped and everything buffered has its outcome.
    Stopped,
    /// Every entry held has been written to the file; with it the figures of the whole life.
    Dumped { entries: u64, latencies: Latencies },
}

/// What a node did.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) reads: u64,
    pub(crate) updates: u64,
    /// Reads and updates that failed.
    pub(crate) errors: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) statements: u64,
    pub(crate) changes: u64,
    pub(crate) buffered: u64,
}

/// How long things took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) hit: Histogram,
    pub(crate) miss: Histogram,
    pub(crate) write: Histogram,
}

impl Message {
    /// Sends it to the orchestrator.
    pub(crate) fn send(&self) -> Result<()> {
        say(self)
    }
}

/// Says something to whoever started this process, as a line of JSON.
pub(crate) fn say(what: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}
