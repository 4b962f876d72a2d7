//! How much may be held.

/// So many things, and so many bytes, whichever is reached first. moka knows one sum, so each thing weighs its share of the one
/// that it takes more of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    count_max: u64,
    bytes_max: u64,
}

impl Capacity {
    pub(crate) fn new(count_max: u64, bytes_max: u64) -> Capacity {
        Capacity { count_max, bytes_max }
    }

    /// What all may weigh together.
    pub(crate) fn weight_max(self) -> u64 {
        (self.bytes_max / self.unit()).min(self.count_max.saturating_mul(u64::from(self.weight(0))))
    }

    /// What a thing of so many bytes weighs.
    #[inline]
    pub(crate) fn weight(self, bytes: u64) -> u32 {
        let at_least = self.bytes_max / self.count_max.max(1);
        u32::try_from(bytes.max(at_least) / self.unit()).unwrap_or(u32::MAX).max(1)
    }

    /// So many bytes weigh 1: a thing's weight has 32 bits.
    fn unit(self) -> u64 {
        (self.bytes_max >> (u32::BITS - 1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(capacity: Capacity, bytes: u64) -> u64 {
        capacity.weight_max() / u64::from(capacity.weight(bytes))
    }

    #[test]
    fn both_bounds_hold_whatever_they_are() {
        for bytes_max in [1, 1000, 1 << 20, (1 << 28) + 7, 1 << 34, 1 << 42] {
            for count_max in [0, 1, 3, 10_000, 1_000_000, u64::MAX] {
                let capacity = Capacity::new(count_max, bytes_max);
                for bytes in [0, 1, 100, 1 << 20, 1 << 33] {
                    let count = fit(capacity, bytes);
                    assert!(count <= count_max, "{count} of {bytes} bytes in {capacity:?}");
                    let rounded = u128::from(capacity.unit()) * u128::from(count);
                    let taken = u128::from(count) * u128::from(bytes);
                    assert!(
                        taken <= u128::from(bytes_max) + rounded || bytes >> 31 > 0,
                        "{taken} bytes in {capacity:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_small_is_bounded_by_its_count_alone() {
        let capacity = Capacity::new(10_000, 256 << 20);
        assert_eq!((fit(capacity, 0), fit(capacity, 20_000)), (10_000, 10_000));
        assert_eq!(fit(capacity, 1 << 20), 255, "what is big, by its bytes");
    }
}
