//! How many patches go together, and whose turn it is.

use std::time::Duration;
use tokio::time::Instant;

/// How long a patch that could not be written by itself waits before it is tried again; each time in a row twice as long.
const ASIDE_PAUSE_MIN: Duration = Duration::from_secs(1);
const ASIDE_PAUSE_MAX: Duration = Duration::from_secs(4);

/// Whose turn it is: that of the line, or of what was set aside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Line,
    Aside,
}

impl Turn {
    pub(super) fn other(self) -> Turn {
        match self {
            Turn::Line => Turn::Aside,
            Turn::Aside => Turn::Line,
        }
    }
}

/// How many patches go together, and when those are tried again that were set aside.
pub(super) struct Pace {
    max: usize,
    pub(super) limit: usize,
    pub(super) last: Turn,
    pub(super) aside_at: Instant,
    pub(super) aside_limit: usize,
    aside_pause: Duration,
}

impl Pace {
    pub(super) fn new(max: usize) -> Pace {
        let aside_at = Instant::now();
        Pace { max, limit: max, last: Turn::Aside, aside_at, aside_limit: 1, aside_pause: ASIDE_PAUSE_MIN }
    }

    /// Batches become larger again by and by: what takes too long must not do so every other time.
    pub(super) fn went_well(&mut self, turn: Turn) {
        self.last = turn;
        match turn {
            Turn::Line => self.limit = (self.limit + (self.limit / 8).max(1)).min(self.max),
            Turn::Aside => {
                self.aside_limit = (2 * self.aside_limit).min(self.max);
                self.aside_pause = ASIDE_PAUSE_MIN;
            }
        }
    }

    pub(super) fn was_undone(&mut self, turn: Turn, patches: usize) {
        self.last = turn;
        match (turn, patches) {
            (Turn::Line, 2..) => self.limit = patches / 2,
            (Turn::Line, _) => self.limit = self.max,
            (Turn::Aside, _) => self.aside_limit = 1,
        }
        if patches < 2 {
            self.aside_at = Instant::now() + self.aside_pause;
            self.aside_pause = (2 * self.aside_pause).min(ASIDE_PAUSE_MAX);
        }
    }
}
