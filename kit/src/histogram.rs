//! Durations, counted in buckets that are at most 6 % wide.

use serde::{Deserialize, Serialize};

/// Buckets per doubling.
const STEPS: u64 = 16;
/// Enough for 2^64 nanoseconds.
const BUCKETS: usize = 64 * STEPS as usize;

/// Counts of durations in nanoseconds. Negative ones count as 0.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Histogram {
    /// By bucket; empty without any.
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, nanos: i64) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        self.counts[bucket(u64::try_from(nanos).unwrap_or(0))] += 1;
    }

    /// Counts those of another one, too.
    pub fn merge(&mut self, other: &Histogram) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration in microseconds that this share of all does not exceed, or `None` without any.
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(upper(at) as f64 / 1000.0)
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let exponent = u64::from(63 - nanos.leading_zeros());
    let step = (nanos >> (exponent - 4)) - STEPS;
    ((exponent - 3) * STEPS + step) as usize
}

/// The largest duration of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (exponent, step) = (bucket / STEPS + 3, bucket % STEPS);
    ((STEPS + step + 1) << (exponent - 4)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lies_in_its_bucket() {
        for nanos in [0, 1, 15, 16, 17, 31, 32, 1000, 123_456_789, u64::MAX / 3] {
            let at = bucket(nanos);
            assert!(upper(at) >= nanos && (at == 0 || upper(at - 1) < nanos), "{nanos}");
        }
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|n| histogram.add(n * 1000));
        let p50 = histogram.quantile_us(0.5).unwrap();
        assert!((500.0..535.0).contains(&p50), "{p50}");
        assert_eq!(Histogram::default().quantile_us(0.5), None);
    }
}
