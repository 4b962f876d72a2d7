//! In which mode a cache is.

use crate::config::{CacheConfig, Mode};
use cache_sync_core::number::KeyHash;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// In which mode a cache is.
#[derive(Debug)]
pub(super) struct Rollout {
    /// Packed. It is changed under the lock of `found`.
    pub(super) mode: AtomicU64,
    /// After how many violations the cache goes back.
    pub(super) retreat_after: Option<u64>,
    /// It is locked before any shard.
    pub(super) found: Mutex<Found>,
}

/// What was found since somebody has set the mode.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) violations: u64,
    pub(super) has_retreated: bool,
    /// Readers who were not served from memory were shown something else than what is held, perhaps ahead of the feed.
    pub(super) overtaken: HashSet<KeyHash>,
}

impl Rollout {
    pub(super) fn new(config: &CacheConfig) -> Rollout {
        Rollout {
            mode: AtomicU64::new(config.mode.packed()),
            retreat_after: config.retreat_after,
            found: Mutex::default(),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        Mode::of(self.mode.load(Ordering::Acquire))
    }
}
