//! What the web demo and its nodes say to each other, one JSON object a line.

use serde::{Deserialize, Serialize};

use cache_sync_kit::Histogram;

/// The two ways to cache that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    CacheSync,
    Redis,
}

impl Way {
    pub(crate) const BOTH: [Way; 2] = [Way::CacheSync, Way::Redis];

    /// Its place in arrays of two.
    pub(crate) fn place(self) -> usize {
        self as usize
    }

    /// The name of its role in Postgres, by which its statements are counted, and of its nodes on the command line.
    pub(crate) fn role(self) -> &'static str {
        ["cache_sync_way", "redis_way"][self.place()]
    }

    /// As people call it.
    pub(crate) fn title(self) -> &'static str {
        ["cache_sync", "Redis"][self.place()]
    }
}

/// What a node is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Write this text into this row of the shelf, the way an application would.
    Edit { number: u64, id: i64, text: String },
    /// Redis is to keep rows for so long.
    TimeToLive { ms: u64 },
}

/// What a node tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Said {
    /// It is connected and works.
    Ready,
    Report(Report),
    /// From now on it shows a row of the shelf like this.
    Shows(Shown),
    /// An edit was confirmed by Postgres, or failed.
    Edited {
        number: u64,
        outcome: Result<(), String>,
    },
}

/// A state of a row of the shelf as a node shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) id: i64,
    pub(crate) text: String,
    pub(crate) version: i64,
    pub(crate) at_ns: i64,
}

/// What a node did in a short time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) from_ns: i64,
    pub(crate) to_ns: i64,
    pub(crate) reads: u64,
    /// Reads that a cache answered.
    pub(crate) hits: u64,
    pub(crate) writes: u64,
    /// Reads and writes that failed, or took longer than a caller waits.
    pub(crate) failed: u64,
    /// Loads and batches sent to Postgres meanwhile, as the node itself counts them.
    pub(crate) loads: u64,
    pub(crate) batches: u64,
    /// Writes that were accepted and are not in Postgres yet.
    pub(crate) buffered: u64,
    /// How long reads took that a cache answered, and others, all together in nanoseconds.
    pub(crate) hits_ns: i64,
    pub(crate) misses_ns: i64,
    /// How long reads took.
    pub(crate) reading: Histogram,
    pub(crate) watched: Vec<WatchedRead>,
}

/// A read of a row that is looked at in Postgres, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatchedRead {
    pub(crate) begun_ns: i64,
    pub(crate) id: i64,
    pub(crate) version: i64,
}
