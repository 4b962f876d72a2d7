//! Generations: the moments after which nothing held may be trusted unseen, counted.

use crate::common::lock::lock;
use crate::common::time::Moment;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Marks what was loaded while no changes were heard: it is of no generation, and the rest of the number says when it was true.
const UNHEARD: u64 = 1 << 63;
/// Marks what somebody has changed since, in the same way.
const REPLACED: u64 = 1 << 62;

/// No entry is of it.
const NONE: u64 = 0;

/// How many past generations are remembered with the time until which they were in step, to tell how old an entry is.
const ENDED_MAX: usize = 64;

/// In place of a generation, for what was true at this moment and may have changed since without a word.
pub(super) fn unheard(at: Moment) -> u64 {
    UNHEARD | at.nanos()
}

/// In place of a generation, for what was true at this moment and of which a change was heard since.
pub(super) fn replaced(at: Moment) -> u64 {
    REPLACED | at.nanos()
}

/// In place of what stands for no generation, once a change is heard: what was true at that moment is replaced since.
pub(super) fn now_replaced(of_none: u64) -> u64 {
    of_none & !UNHEARD | REPLACED
}

/// Whether a change of it was heard.
pub(super) fn is_replaced(generation: u64) -> bool {
    generation & (UNHEARD | REPLACED) == REPLACED
}

/// Whether something is of no generation.
pub(super) fn is_of_none(generation: u64) -> bool {
    generation & (UNHEARD | REPLACED) != 0
}

#[derive(Debug)]
pub(super) struct Generations {
    current: AtomicU64,
    /// That of which entries are hits: the present one, or [`NONE`].
    serving: AtomicU64,
    ended: Mutex<VecDeque<(u64, Moment)>>,
}

impl Generations {
    pub(super) fn new() -> Generations {
        Generations { current: AtomicU64::new(1), serving: AtomicU64::new(1), ended: Mutex::default() }
    }

    /// Whether all entries of the present one are hits, or none.
    pub(super) fn serve(&self, is_serving: bool) {
        let _ended = lock(&self.ended);
        self.serving.store(if is_serving { self.current() } else { NONE }, Ordering::Release);
    }

    /// That of which entries are hits, whatever their keys are; of no entry where the key matters.
    #[inline]
    pub(super) fn serving(&self) -> u64 {
        self.serving.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn current(&self) -> u64 {
        self.current.load(Ordering::Acquire)
    }

    /// Begins the next one. What was confirmed in the one before was last known to be in step at `as_of`.
    pub(super) fn raise(&self, as_of: Moment) {
        let mut ended = lock(&self.ended);
        let before = self.current();
        if self.serving() != NONE {
            self.serving.store(before + 1, Ordering::Release);
        }
        self.current.store(before + 1, Ordering::Release);
        ended.push_back((before, as_of));
        if ended.len() > ENDED_MAX {
            ended.pop_front();
        }
    }

    /// When everything of this one was last known to be in step; none for the present one, and for those that are forgotten.
    pub(super) fn in_step_at(&self, generation: u64) -> Option<Moment> {
        if is_of_none(generation) {
            return Some(Moment::from_nanos(generation & !(UNHEARD | REPLACED)));
        }
        lock(&self.ended).iter().find(|(of, _)| *of == generation).map(|(_, at)| *at)
    }
}
