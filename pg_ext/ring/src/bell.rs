//! Waiting and waking.
//!
//! A committer wakes at most one listener, so what a commit costs does not depend on how many there are. A listener
//! *arms* itself (a bit in shared memory), and whoever clears the bit hands it a wake-up. A listener that was handed one
//! first hands two on, before it reads or sends anything; so every armed listener is reached, in a number of steps that
//! grows with the logarithm of their number. One that has read everything is passed over, or two listeners could wake each
//! other for ever. Three things keep a wake-up from getting lost:
//!
//! - a listener that leaves, for whatever reason, hands on as if it had been woken;
//! - a listener is armed only while it waits: not while it sends, sleeps or checks privileges;
//! - after arming it looks at the head again, and a change that it then finds is its own business.

use crate::memory::{Memory, Word};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

/// How many a woken listener wakes.
const HANDED_ON: usize = 2;

/// Wakes up to `count` armed listeners that have not read everything.
pub(crate) fn wake<M: Memory>(memory: &M, count: usize) {
    let head = memory.head().load(Acquire);
    for _ in 0..count {
        let Some(listener) = disarm_one(memory, head) else { return };
        memory.set_latch(listener);
    }
}

/// Asks to be woken by the next change after `position`. `false` when there is one already; then the listener is not armed.
///
/// The caller resets its latch before, waits for it after, and then calls [`woken`] before all else.
pub fn arm<M: Memory>(memory: &M, listener: usize, position: u64) -> bool {
    let (word, bit) = armed(memory, listener);
    memory.position(listener).store(position, Release);
    word.fetch_or(bit, SeqCst);
    // Pairs with the fence after a change was published.
    memory.fence();
    if memory.head().load(Acquire) == position {
        return true;
    }
    woken(memory, listener);
    false
}

/// Ends the wait: if somebody handed this listener a wake-up, hands it on.
pub fn woken<M: Memory>(memory: &M, listener: usize) {
    let (word, bit) = armed(memory, listener);
    if word.fetch_and(!bit, SeqCst) & bit == 0 {
        wake(memory, HANDED_ON);
    }
}

/// The listener will not wait again: hands on the wake-up that it may have been given.
pub fn leave<M: Memory>(memory: &M, listener: usize) {
    let (word, bit) = armed(memory, listener);
    word.fetch_and(!bit, SeqCst);
    wake(memory, HANDED_ON);
}

/// Whether the listener waits to be woken.
pub fn is_armed<M: Memory>(memory: &M, listener: usize) -> bool {
    let (word, bit) = armed(memory, listener);
    word.load(Relaxed) & bit != 0
}

fn disarm_one<M: Memory>(memory: &M, head: u64) -> Option<usize> {
    for (index, word) in memory.armed().iter().enumerate() {
        let mut bits = word.load(Acquire);
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            let listener = index * u64::BITS as usize + bit.trailing_zeros() as usize;
            let is_behind = memory.position(listener).load(Acquire) != head;
            if is_behind && word.fetch_and(!bit, SeqCst) & bit != 0 {
                return Some(listener);
            }
            bits &= !bit;
        }
    }
    None
}

fn armed<M: Memory>(memory: &M, listener: usize) -> (&M::Word, u64) {
    (&memory.armed()[listener / u64::BITS as usize], 1 << (listener % u64::BITS as usize))
}
