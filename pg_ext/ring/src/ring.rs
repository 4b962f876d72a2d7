//! Publishing and reading.

use crate::bell::wake;
use crate::memory::{Memory, Word};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many changes were copied; 0 when there is nothing new.
    Copied(usize),
    /// The changes asked for were overwritten, or are of a position that never was.
    Lapped,
}

/// Publishes changes and wakes one listener. It neither allocates nor fails.
pub fn publish<M: Memory>(memory: &M, entries: &[M::Entry]) {
    write(memory, |head| {
        let mut position = head;
        for run in entries.chunks(memory.size() as usize) {
            let (place, first) = split(memory, position, run.len());
            memory.copy_in(place, &run[..first]);
            memory.copy_in(0, &run[first..]);
            position += run.len() as u64;
        }
        position
    });
}

/// Makes every reader find itself overrun: for a commit that changed more tables than can be told.
pub fn publish_gap<M: Memory>(memory: &M) {
    // What the entries hold stays readable as changes, but a position from before is further back than they go.
    write(memory, |head| head + memory.size() + 1);
}

fn write<M: Memory>(memory: &M, fill: impl FnOnce(u64) -> u64) {
    memory.exclusive(|| {
        let head = memory.head().load(Relaxed);
        memory.head().store(fill(head), Release);
    });
    // Pairs with the fence in `arm`: either we see its bit, or it sees the new head.
    memory.fence();
    wake(memory, 1);
}

/// Copies the changes from `position` on into `into`, as many as fit.
pub fn read<M: Memory>(memory: &M, position: u64, into: &mut [M::Entry]) -> Read {
    if memory.head().load(Acquire) == position {
        return Read::Copied(0);
    }
    memory.shared(|| {
        let head = memory.head().load(Relaxed);
        if position > head || head - position > memory.size() {
            return Read::Lapped;
        }
        let count = usize::try_from(head - position).unwrap_or(usize::MAX).min(into.len());
        let (place, first) = split(memory, position, count);
        memory.copy_out(place, &mut into[..first]);
        memory.copy_out(0, &mut into[first..count]);
        Read::Copied(count)
    })
}

/// Where a position is, and how many of `count` entries fit from there to the end.
fn split<M: Memory>(memory: &M, position: u64, count: usize) -> (usize, usize) {
    let place = (position % memory.size()) as usize;
    (place, count.min(memory.size() as usize - place))
}
