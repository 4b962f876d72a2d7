//! What a cache does for whom, while it is rolled out.

use crate::error::{Error, ErrorKind};
use cache_sync_core::number::KeyHash;
use serde::Serialize;

/// What a cache does: for bringing it into a service that reads and writes Postgres by itself, step by step. See docs/guide/rollout.md.
///
/// It may be changed at any time, under whatever load ([`Cache::set_mode`](crate::Cache::set_mode)): no write is lost or overtakes another one, no
/// read is older than the bound on staleness, and whoever watches rows goes on. What is buffered stays in its line, and later writes of the same
/// rows stand behind it. It says nothing of queries.
///
/// | | reads | held | writes return |
/// | --- | --- | --- | --- |
/// | `Off` | each asks Postgres | nothing | once Postgres has committed them |
/// | `Shadow` | each asks Postgres, and is compared with what is held | as with `On` | once Postgres has committed them |
/// | `Canary` | of the rows in the share as with `On`, of others as with `Shadow` | as with `On` | likewise |
/// | `On` | from memory | what is read | as [`Durability`](crate::Durability) says |
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Mode {
    /// As if there were no cache: each read asks Postgres, the primary (reads at the same moment share a statement), nothing is held or
    /// served stale, and writes wait for the commit.
    Off,
    /// As `Off` to its callers. Beside that the cache is filled and kept in step, and what it would have served is compared with what Postgres
    /// says: [`CacheStatus::violations`](crate::CacheStatus::violations).
    Shadow,
    /// Rows in this share of all keys, from 0 to 1, as with `On`; all others as with `Shadow`, so that these are compared meanwhile, and held
    /// once the share grows. Which rows these are is the same on every node and for as long as the table stays attached, and a larger share has
    /// those of each smaller one.
    Canary(f64),
    /// What is held is served.
    #[default]
    On,
}

/// What a cache does for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stance {
    Off,
    Shadow,
    Serving,
}

/// A share has a number of its own below these, which are none of a share's.
const OFF: u64 = u64::MAX;
const SHADOW: u64 = u64::MAX - 1;
const ON: u64 = u64::MAX - 2;

impl Mode {
    /// With the share of the hits that is compared, and after how many violations the cache goes back.
    pub(super) fn check_with(self, verified_share: f64, retreat_after: Option<u64>) -> Result<(), Error> {
        let misfit = |message: String| Err(Error::new(ErrorKind::Config, message));
        if !(0.0..=1.0).contains(&verified_share) {
            return misfit(format!("verify is {verified_share}; it must be a share from 0 to 1"));
        }
        if retreat_after == Some(0) {
            return misfit("retreat_after is 0; it must be 1 at least".to_owned());
        }
        if retreat_after.is_some() && verified_share == 0.0 && self == Mode::On {
            return misfit("retreat_after needs verify where the mode is On: nothing would be compared".to_owned());
        }
        self.check()
    }

    pub(crate) fn check(self) -> Result<(), Error> {
        match self {
            Mode::Canary(share) if !(0.0..=1.0).contains(&share) => {
                let message = format!("the share of Mode::Canary is {share}; it must be from 0 to 1");
                Err(Error::new(ErrorKind::Config, message))
            }
            _ => Ok(()),
        }
    }

    /// What it is for a key of this hash, which is a number by chance.
    pub(crate) fn stance(self, hash: KeyHash) -> Stance {
        const STEPS: f64 = (1_u64 << 53) as f64;
        match self {
            Mode::Off => Stance::Off,
            Mode::Canary(share) if (hash.0 >> 11) as f64 / STEPS < share => Stance::Serving,
            Mode::Shadow | Mode::Canary(_) => Stance::Shadow,
            Mode::On => Stance::Serving,
        }
    }

    pub(crate) fn packed(self) -> u64 {
        match self {
            Mode::Off => OFF,
            Mode::Shadow => SHADOW,
            Mode::Canary(share) => share.to_bits(),
            Mode::On => ON,
        }
    }

    pub(crate) fn of(packed: u64) -> Mode {
        match packed {
            OFF => Mode::Off,
            SHADOW => Mode::Shadow,
            ON => Mode::On,
            share => Mode::Canary(f64::from_bits(share)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_share_has_the_keys_of_each_smaller_one() {
        let hashes: Vec<_> = (0..10_000_u64).map(|n| KeyHash(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        let of = |share: f64| -> Vec<_> {
            let serves = |hash: &&KeyHash| Mode::Canary(share).stance(**hash) == Stance::Serving;
            hashes.iter().filter(serves).collect()
        };
        assert_eq!((of(0.0).len(), of(1.0).len()), (0, hashes.len()));
        let shares: Vec<_> = [0.01, 0.1, 0.5, 0.99].into_iter().map(of).collect();
        for two in shares.windows(2) {
            assert!(two[0].iter().all(|hash| two[1].contains(hash)));
        }
        assert!((900..1100).contains(&shares[1].len()), "{}", shares[1].len());
    }

    #[test]
    fn a_mode_is_what_it_was_packed_as() {
        for mode in [Mode::Off, Mode::Shadow, Mode::Canary(0.0), Mode::Canary(0.25), Mode::Canary(1.0), Mode::On] {
            assert_eq!(Mode::of(mode.packed()), mode);
            assert!(mode.check().is_ok());
        }
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Mode::Canary(share).check().unwrap_err().to_string().contains("must be from 0 to 1"));
        }
    }
}
