//! In which mode a cache is.

use crate::config::{CacheConfig, Mode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// In which mode a cache is.
#[derive(Debug)]
pub(super) struct Rollout {
    /// Packed. It is changed under the lock of `found`.
    pub(super) mode: AtomicU64,
    /// After how many violations the cache goes back.
    pub(super) retreat_after: Option<u64>,
    /// Hits are compared with Postgres.
    pub(super) verifies: bool,
    /// It is locked before any shard.
    pub(super) found: Mutex<Found>,
}

/// What was found since somebody has asked for another mode.
#[derive(Debug)]
pub(super) struct Found {
    /// The mode that was asked for last, whatever has become of it.
    pub(super) asked: Mode,
    pub(super) violations: u64,
    pub(super) has_retreated: bool,
    /// There may be entries that are overtaken.
    pub(super) has_overtaken: bool,
}

impl Rollout {
    pub(super) fn new(config: &CacheConfig) -> Rollout {
        Rollout {
            mode: AtomicU64::new(config.mode.packed()),
            retreat_after: config.retreat_after,
            verifies: config.verified_share > 0.0,
            found: Mutex::new(Found { asked: config.mode, violations: 0, has_retreated: false, has_overtaken: false }),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        Mode::of(self.mode.load(Ordering::Acquire))
    }
}
