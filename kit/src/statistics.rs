//! What many measurements come to.

/// The value that `share` of all do not exceed: 0.5 for the median.
///
/// # Panics
/// There are none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}

/// The value in the middle.
///
/// # Panics
/// There are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_values_that_were_measured() {
        assert_eq!((median(vec![9.0, 1.0, 2.0]), median(vec![7.0])), (2.0, 7.0));
        let hundred: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| quantile(&hundred, share)), [0.0, 50.0, 99.0, 99.0]);
    }
}
