//! The keys that stand in line for the flusher.

use cache_sync_core::number::KeyHash;
use std::collections::{HashMap, VecDeque};

/// A key for each patch that waits, in the order of their acceptance.
#[derive(Debug, Default)]
pub(super) struct Line {
    keys: VecDeque<KeyHash>,
    /// How many at the front are to be sent without waiting for more.
    urgent: usize,
    /// Somebody was in a hurry since keys were last taken.
    is_hurried: bool,
    /// A key for each patch that was set aside: it could not be written by itself, so it goes alone, between others.
    aside: VecDeque<KeyHash>,
    /// How often each of them is there.
    times_aside: HashMap<KeyHash, usize>,
}

impl Line {
    /// Lets a key stand in line. Returns how long the line is.
    pub(super) fn push(&mut self, key: KeyHash) -> usize {
        self.keys.push_back(key);
        self.keys.len()
    }

    /// Everything that stands here now is urgent.
    pub(super) fn hurry(&mut self) {
        self.urgent = self.keys.len();
        self.is_hurried = true;
    }

    /// Takes up to `max` keys from the front. Says whether they were urgent.
    pub(super) fn take(&mut self, max: usize) -> (Vec<KeyHash>, bool) {
        let was_urgent = self.is_urgent();
        self.is_hurried = false;
        let count = self.keys.len().min(max);
        self.urgent = self.urgent.saturating_sub(count);
        (self.keys.drain(..count).collect(), was_urgent)
    }

    /// Gives back keys that were taken but could not go yet.
    pub(super) fn give_back(&mut self, keys: Vec<KeyHash>, were_urgent: bool) {
        if were_urgent || self.is_hurried {
            self.urgent += keys.len();
        }
        keys.into_iter().rev().for_each(|key| self.keys.push_front(key));
    }

    pub(super) fn set_aside(&mut self, key: KeyHash) {
        self.aside.push_back(key);
        *self.times_aside.entry(key).or_default() += 1;
    }

    pub(super) fn is_aside(&self, key: KeyHash) -> bool {
        self.times_aside.contains_key(&key)
    }

    pub(super) fn has_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    /// Takes up to `max` keys of those that have been set aside for longest.
    pub(super) fn take_aside(&mut self, max: usize) -> Vec<KeyHash> {
        let taken: Vec<_> = self.aside.drain(..self.aside.len().min(max)).collect();
        for key in &taken {
            let times = self.times_aside.remove(key).unwrap_or_default();
            if times > 1 {
                self.times_aside.insert(*key, times - 1);
            }
        }
        taken
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.urgent > 0
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(keys: u64) -> Line {
        let mut line = Line::default();
        for key in 0..keys {
            line.push(KeyHash(key));
        }
        line
    }

    /// A flush of more than one batch holds, or of a key with two patches, once sent the first batch and left the rest to
    /// the flush interval, which may be an hour.
    #[test]
    fn what_is_urgent_stays_so_until_it_is_taken() {
        let mut line = line(3);
        line.hurry();
        line.push(KeyHash(3));
        let (taken, urgent) = line.take(2);
        assert_eq!((taken.as_slice(), urgent), (&[KeyHash(0), KeyHash(1)][..], true));
        assert!(line.is_urgent());
        line.give_back(vec![KeyHash(1)], urgent);
        assert_eq!(line.take(2).0, [KeyHash(1), KeyHash(2)]);
        assert!(!line.is_urgent());
        assert_eq!(line.len(), 1);
    }

    #[test]
    fn a_key_is_aside_as_long_as_one_of_its_patches_is() {
        let mut line = Line::default();
        for key in [7, 8, 7] {
            line.set_aside(KeyHash(key));
        }
        assert_eq!(line.take_aside(2), [KeyHash(7), KeyHash(8)]);
        assert!(line.is_aside(KeyHash(7)) && !line.is_aside(KeyHash(8)) && line.has_aside());
        assert_eq!(line.take_aside(2), [KeyHash(7)]);
        assert!(!line.is_aside(KeyHash(7)) && !line.has_aside());
    }
}
