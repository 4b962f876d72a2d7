//! Which accounts are hot: Zipf's law with exponent 1, scattered over the table.

use cache_sync_kit::Dice;

/// How many accounts can be drawn at all. The colder rest would be drawn about never.
const DRAWN_MAX: u32 = 1_000_000;
/// Neighbours in hotness are this far apart in the table, so that they share no page.
pub(crate) const STRIDE: u64 = 7_368_787;

/// Draws accounts.
#[derive(Debug)]
pub(crate) struct Keys {
    accounts: u32,
    /// Of each rank, the chance to draw it or a hotter one.
    up_to: Vec<f64>,
}

impl Keys {
    /// Of the accounts 1 to `accounts`.
    pub(crate) fn new(accounts: u32) -> Keys {
        let weights = (1..=accounts.min(DRAWN_MAX)).map(|rank| 1.0 / f64::from(rank));
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        up_to.iter_mut().for_each(|chance| *chance /= sum);
        Keys { accounts, up_to }
    }

    /// The account of this rank; 0 is the hottest.
    pub(crate) fn at(&self, rank: usize) -> i32 {
        // The stride is a prime that divides no number of accounts (100,000 times a scale below it), so different
        // ranks fall on different accounts.
        let place = (rank as u64 * STRIDE) % u64::from(self.accounts);
        i32::try_from(place + 1).unwrap_or(i32::MAX)
    }

    /// Draws a rank.
    pub(crate) fn draw(&self, dice: &mut Dice) -> usize {
        let chance = dice.fraction();
        self.up_to.partition_point(|up_to| *up_to < chance).min(self.up_to.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ranks_fall_on_different_accounts_and_low_ones_are_drawn_more() {
        let keys = Keys::new(100_000);
        let accounts: HashSet<i32> = (0..100_000).map(|rank| keys.at(rank)).collect();
        assert_eq!(accounts.len(), 100_000);
        assert!(accounts.iter().all(|aid| (1..=100_000).contains(aid)));
        let mut dice = Dice::new(1);
        let hottest = (0..10_000).filter(|_| keys.draw(&mut dice) == 0).count();
        assert!((600..1100).contains(&hottest), "{hottest} of 10,000: 1 / H(100,000) is 8.3 %");
    }
}
