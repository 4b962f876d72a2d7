//! Random numbers that can be drawn again.

/// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled".
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that always throw the same numbers for a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`, which is at most 2^48.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.throw() >> 16) % end
    }

    /// From 0 up to, but not including, 1.
    pub fn fraction(&mut self) -> f64 {
        (self.throw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of several.
    pub fn one_of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len() as u64) as usize]
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_even_and_the_same_for_a_seed() {
        for seed in [0, 1, u64::MAX] {
            let (mut dice, mut again) = (Dice::new(seed), Dice::new(seed));
            let mut counts = [0; 6];
            for _ in 0..6000 {
                let number = dice.below(6);
                assert_eq!(number, again.below(6));
                counts[number as usize] += 1;
            }
            assert!(counts.iter().all(|count| (850..1150).contains(count)), "{seed}: {counts:?}");
            let fractions: Vec<f64> = (0..1000).map(|_| dice.fraction()).collect();
            let mean = fractions.iter().sum::<f64>() / 1000.0;
            assert!(fractions.iter().all(|fraction| (0.0..1.0).contains(fraction)) && (0.45..0.55).contains(&mean));
        }
    }
}
