//! Generations: the moments after which nothing held may be trusted unseen, counted.

use crate::common::lock::lock;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many past generations are remembered with the time of their end, to tell how old an entry is.
const ENDED_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Generations {
    current: AtomicU64,
    ended: Mutex<VecDeque<(u64, Instant)>>,
}

impl Generations {
    pub(super) fn new() -> Generations {
        Generations { current: AtomicU64::new(1), ended: Mutex::default() }
    }

    #[inline]
    pub(super) fn current(&self) -> u64 {
        self.current.load(Ordering::Acquire)
    }

    pub(super) fn raise(&self) {
        let mut ended = lock(&self.ended);
        let before = self.current.fetch_add(1, Ordering::AcqRel);
        ended.push_back((before, Instant::now()));
        if ended.len() > ENDED_MAX {
            ended.pop_front();
        }
    }

    /// How long ago this one ended; none for the present one, and for those that are forgotten.
    pub(super) fn ended_ago(&self, generation: u64) -> Option<Duration> {
        lock(&self.ended).iter().find(|(of, _)| *of == generation).map(|(_, at)| at.elapsed())
    }
}
