//! The keys that stand in line for the flusher.
//!
//! Each key stands there once, however many of its patches wait: a batch takes one patch of a key, and a key with more of them goes to
//! the end of the line. So nobody waits for another key's patches longer than for a batch.

use cache_sync_core::number::KeyHash;
use std::collections::{HashMap, VecDeque};

/// What waits of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    patches: usize,
    /// When its key came, as a number.
    came: u64,
    /// Some of its patches have been taken, or had been: the others have waited as long.
    is_back: bool,
}

/// The keys whose patches wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Line {
    keys: VecDeque<KeyHash>,
    waiting: HashMap<KeyHash, Waiting>,
    patches: usize,
    /// The number of the key that comes next.
    next: u64,
    /// Somebody is in a hurry for all keys that came before.
    urgent_until: u64,
    /// How many keys are to be sent without waiting for more.
    urgent: usize,
    /// Keys that were set aside, each once: a patch of theirs could not be written by itself, so they go alone, between others.
    aside: VecDeque<KeyHash>,
    /// How many of their patches wait.
    patches_aside: HashMap<KeyHash, usize>,
}

impl Line {
    /// Lets a patch of the key wait. Returns how many patches do.
    pub(super) fn push(&mut self, key: KeyHash) -> usize {
        if let Some(patches) = self.patches_aside.get_mut(&key) {
            *patches += 1;
        } else {
            self.patches += 1;
            self.waiting
                .entry(key)
                .or_insert_with(|| {
                    self.keys.push_back(key);
                    self.next += 1;
                    Waiting { patches: 0, came: self.next - 1, is_back: false }
                })
                .patches += 1;
        }
        self.patches
    }

    /// Everything that waits now is urgent.
    pub(super) fn hurry(&mut self) {
        self.urgent_until = self.next;
        self.urgent = self.waiting.len();
    }

    /// Takes a patch of each of up to `max` keys from the front.
    pub(super) fn take(&mut self, max: usize) -> Vec<KeyHash> {
        let taken: Vec<_> = self.keys.drain(..self.keys.len().min(max)).collect();
        for key in &taken {
            let left = self.leave(*key).patches.saturating_sub(1);
            if left > 0 {
                self.come_back(*key, left);
                self.keys.push_back(*key);
            }
        }
        taken
    }

    /// Gives back patches that were taken but could not go yet.
    pub(super) fn give_back(&mut self, keys: Vec<KeyHash>) {
        for key in keys.into_iter().rev() {
            let behind = self.leave(key).patches;
            if behind == 0 {
                self.keys.push_front(key);
            }
            self.come_back(key, behind + 1);
        }
    }

    /// Takes all that waits of a key out of the counts.
    fn leave(&mut self, key: KeyHash) -> Waiting {
        let Some(waiting) = self.waiting.remove(&key) else { return Waiting::default() };
        self.patches -= waiting.patches;
        self.urgent -= usize::from(waiting.is_back || waiting.came < self.urgent_until);
        waiting
    }

    fn come_back(&mut self, key: KeyHash, patches: usize) {
        self.waiting.insert(key, Waiting { patches, came: 0, is_back: true });
        self.patches += patches;
        self.urgent += 1;
    }

    /// Sets a patch of the key aside that was taken, and with it all that wait behind it.
    pub(super) fn set_aside(&mut self, key: KeyHash) {
        let behind = self.leave(key).patches;
        if behind > 0 {
            self.keys.retain(|other| *other != key);
        }
        let patches = self.patches_aside.entry(key).or_insert_with(|| {
            self.aside.push_back(key);
            0
        });
        *patches += 1 + behind;
    }

    pub(super) fn has_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    /// Takes a patch of each of up to `max` keys of those that have been set aside for longest. What waits behind it stands in line
    /// again, unless it is set aside anew.
    pub(super) fn take_aside(&mut self, max: usize) -> Vec<KeyHash> {
        let taken: Vec<_> = self.aside.drain(..self.aside.len().min(max)).collect();
        for key in &taken {
            let behind = self.patches_aside.remove(key).unwrap_or(1) - 1;
            if behind > 0 {
                self.come_back(*key, behind);
                self.keys.push_back(*key);
            }
        }
        taken
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.urgent > 0
    }

    /// How many patches wait, but for those that were set aside.
    pub(super) fn len(&self) -> usize {
        self.patches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<const N: usize>(keys: [u64; N]) -> Vec<KeyHash> {
        keys.into_iter().map(KeyHash).collect()
    }

    fn line<const N: usize>(patches: [u64; N]) -> Line {
        let mut line = Line::default();
        for key in keys(patches) {
            line.push(key);
        }
        line
    }

    /// A flush of more than one batch holds, or of a key with two patches, once sent the first batch and left the rest to
    /// the flush interval, which may be an hour.
    #[test]
    fn what_is_urgent_stays_so_until_it_is_taken() {
        let mut line = line([0, 1, 1, 2]);
        line.hurry();
        line.push(KeyHash(3));
        assert_eq!(line.take(2), keys([0, 1]));
        assert!(line.is_urgent());
        line.give_back(keys([1]));
        assert_eq!(line.take(2), keys([2, 3]));
        assert!(line.is_urgent());
        assert_eq!(line.take(2), keys([1]));
        assert!(line.is_urgent(), "it has another one");
        assert_eq!(line.take(2), keys([1]));
        assert!(!line.is_urgent() && line.len() == 0);
    }

    /// 5,000 patches of one key that could not become one once kept all other keys waiting for 5,000 batches.
    #[test]
    fn a_key_with_many_patches_goes_to_the_end() {
        let mut line = line([7; 5000]);
        line.push(KeyHash(1));
        assert_eq!(line.take(1000), keys([7, 1]));
        assert_eq!(line.push(KeyHash(2)), 5000);
        assert_eq!(line.take(1000), keys([7, 2]));
        assert_eq!(line.take(1), keys([7]));
        assert_eq!(line.len(), 4997);
    }

    #[test]
    fn what_was_given_back_comes_first_and_once() {
        let mut line = line([1, 2, 1]);
        assert_eq!(line.take(2), keys([1, 2]));
        line.give_back(keys([1, 2]));
        assert_eq!((line.len(), line.take(9)), (3, keys([2, 1])));
        assert_eq!((line.len(), line.take(9), line.len()), (1, keys([1]), 0));
    }

    #[test]
    fn a_key_is_aside_with_all_its_patches() {
        let mut line = line([7, 8, 7]);
        assert_eq!(line.take(2), keys([7, 8]));
        line.set_aside(KeyHash(7));
        assert_eq!((line.len(), line.push(KeyHash(7)), line.take(9)), (0, 0, keys([])));
        assert_eq!(line.take_aside(2), keys([7]));
        assert!(!line.has_aside() && line.len() == 2, "what was behind it stands in line again");
        line.set_aside(KeyHash(7));
        assert!(line.has_aside() && line.len() == 0 && !line.is_urgent());
        assert_eq!((line.take_aside(2), line.take(9), line.take(9)), (keys([7]), keys([7]), keys([7])));
        assert_eq!((line.len(), line.take(9)), (0, keys([])));
    }
}
