//! Numbers that look random and are the same each time. Some tests hold only for those that these dice throw: kit's throw others.

/// Throws numbers.
pub struct Dice(u64);

impl Dice {
    /// Dice that always throw the same numbers for a seed, which must not be 0.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
