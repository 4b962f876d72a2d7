//! Who looks at a row in order to change it, where memory may not show him what others here write meanwhile: he is told that they do.

use super::memory::AlreadyHashed;
use cache_sync_core::number::KeyHash;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// The keys of a shard that are looked at, each with whether it has been written since: mostly none. Of each key one looks at a time: whose
/// turn it is.
#[derive(Debug, Default)]
pub(super) struct Looks(HashMap<KeyHash, bool, BuildHasherDefault<AlreadyHashed>>);

impl Looks {
    pub(super) fn begin(&mut self, hash: KeyHash) {
        self.0.insert(hash, false);
    }

    pub(super) fn end(&mut self, hash: KeyHash) {
        self.0.remove(&hash);
    }

    /// A write of the key was accepted.
    pub(super) fn written(&mut self, hash: KeyHash) {
        if let Some(is_written) = self.0.get_mut(&hash) {
            *is_written = true;
        }
    }

    /// Whether the key was written since somebody has begun to look at it.
    pub(super) fn is_written(&self, hash: KeyHash) -> bool {
        self.0.get(&hash) == Some(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_noted_while_somebody_looks() {
        let mut looks = Looks::default();
        looks.written(KeyHash(1));
        assert!(!looks.is_written(KeyHash(1)) && looks.0.is_empty(), "nobody looks");
        looks.begin(KeyHash(1));
        looks.written(KeyHash(2));
        assert!(!looks.is_written(KeyHash(1)), "another key");
        looks.written(KeyHash(1));
        assert!(looks.is_written(KeyHash(1)));
        looks.begin(KeyHash(1));
        assert!(!looks.is_written(KeyHash(1)), "he looks again");
        looks.end(KeyHash(1));
        assert!(looks.0.is_empty());
    }
}
