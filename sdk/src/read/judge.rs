//! Whether what is held, and is not what Postgres says, should not be held any more.
//!
//! A row that differs has changed. That is no violation as long as the feed may still tell of it, so nothing is one before all of this has been
//! seen, in this order:
//!
//! 1. The feed vouches for a moment after the difference was seen, and the very same entry is still there, good, and of the present generation: it
//!    has not been dropped, replaced, evicted or doubted, its row has not expired, the feed is heard, the table is the same.
//! 2. Asked once more, Postgres says something else than what is held, again. With a standby, whose rows may be ahead of what the primary shows,
//!    it is asked when all have ended who may have written that.
//! 3. Whoever had committed what that answer shows has published it by now, which a committing transaction does a moment after it can be seen.
//! 4. The feed vouches for a moment after that, and the very same entry is still there, as in 1.
//!
//! So the change was published, all that was published has been told, and what the cache has been told it claims to show. No time is measured,
//! no value is compared that a type has made, and no write of this client waits or is under way: whatever cannot be settled so has no verdict.

use super::Reads;
use super::comparisons::{For, Said};
use crate::codec::caught::let_go;
use crate::codec::key::Key;
use crate::codec::value::CacheValue;
use crate::common::lock::lock;
use crate::common::trouble::Seldom;
use crate::entries::{Claim, Says, Standing};
use crate::error::Error;
use crate::store::{Ending, within};
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether something has come to pass; where Postgres is asked, each time in a row half as often.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(1);
/// For how long those are waited for who may have something to publish.
const PUBLISHED_MAX: Duration = Duration::from_secs(30);

/// Looks into what differs, in a task of its own.
pub(crate) struct Judge<K, V>(pub(crate) Arc<Reads<K, V>>);

impl<K: Key, V: CacheValue> Judge<K, V> {
    /// Judges until nobody will read any more, or its task is ended.
    pub(crate) async fn run(self) {
        let (reads, said, not_judged) = (&*self.0, Seldom::default(), Seldom::default());
        while !reads.comparisons.is_closed() {
            reads.comparisons.suspected.notified().await;
            let suspects = std::mem::take(&mut *lock(&reads.comparisons.suspects));
            let guilty = reads.judge(suspects.into_values().collect(), &not_judged).await;
            // From then on the feed does not tell this cache any more.
            if !reads.comparisons.is_closed() {
                reads.convict(&guilty, &said);
            }
        }
    }
}

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// Those that should not be held any more. All others are counted as what they are.
    async fn judge(&self, suspects: Vec<Claim<K, V>>, not_judged: &Seldom) -> Vec<Claim<K, V>> {
        let suspects = self.standing_after_the_feed(suspects).await;
        if suspects.is_empty() {
            return suspects;
        }
        match self.others_once_more(&suspects).await {
            // What is left of them all the same has no proof.
            Ok(None) => {
                let left = self.standing_after_the_feed(suspects).await;
                self.entries.counters.unverified.add(left.len() as u64);
                Vec::new()
            }
            Ok(Some(are_others)) => {
                let others =
                    suspects.into_iter().zip(are_others).filter_map(|(claim, is_other)| is_other.then_some(claim));
                self.standing_after_the_feed(others.collect()).await
            }
            Err(error) => {
                let suspects = self.still_standing(suspects);
                self.entries.counters.unverified.add(suspects.len() as u64);
                self.let_go_unjudged(&suspects, &error, not_judged);
                Vec::new()
            }
        }
    }

    /// Nobody can tell whether they should be held, so those that still could be served are not.
    fn let_go_unjudged(&self, suspects: &[Claim<K, V>], error: &Error, said: &Seldom) {
        let left: Vec<_> = suspects.iter().filter(|claim| self.is_standing(claim)).collect();
        if left.is_empty() {
            return;
        }
        if let Some(not_said) = said.kept_back() {
            tracing::warn!(
                table = self.entries.schema.display_name(),
                rows = left.len(),
                error = %error.logged(),
                not_said,
                "it could not be found out whether rows should be held; they are loaded again"
            );
        }
        left.into_iter().for_each(|claim| self.invalidate(claim.hash));
    }

    /// Whether it may still be served, by a cache that hears of changes.
    fn is_standing(&self, claim: &Claim<K, V>) -> bool {
        !self.comparisons.is_closed() && self.entries.standing(claim) == Standing::Stands
    }

    /// Those that stand when the feed vouches for the moment of this call.
    async fn standing_after_the_feed(&self, mut suspects: Vec<Claim<K, V>>) -> Vec<Claim<K, V>> {
        let common = &self.entries.common;
        let asked = common.now();
        loop {
            // Before they are looked at: all that it vouches for then has been done to them.
            let in_step_at = common.freshness.in_step_at();
            suspects = self.still_standing(suspects);
            if suspects.is_empty() || in_step_at >= asked {
                return suspects;
            }
            // The feed comes on, or is not heard any more, and then nothing stands.
            tokio::time::sleep(LOOK_PAUSE).await;
            if self.comparisons.is_closed() {
                return Vec::new();
            }
        }
    }

    /// Those that stand now. What has become of the others is counted.
    fn still_standing(&self, mut suspects: Vec<Claim<K, V>>) -> Vec<Claim<K, V>> {
        let counters = &self.entries.counters;
        suspects.retain(|claim| {
            let standing = self.entries.standing(claim);
            match standing {
                Standing::Stands => {}
                Standing::Gone => counters.verified_behind.add(1),
                Standing::OwnWrite => counters.unverified.add(1),
            }
            standing == Standing::Stands
        });
        suspects
    }

    /// To which of them Postgres says something else once more, when that has been published; none: the feed has told of all of them meanwhile.
    async fn others_once_more(&self, suspects: &[Claim<K, V>]) -> Result<Option<Vec<bool>>, Error> {
        if self.standby.is_some() && !self.until_published(Ending::Any, suspects).await? {
            return Ok(None);
        }
        let keys: Vec<_> = suspects.iter().map(|claim| claim.key.clone()).collect();
        let said = self.ask(&keys, For::Nobody(&self.alone().await)).await?;
        if !self.until_published(Ending::Seen, suspects).await? {
            said.into_iter().for_each(let_go);
            return Ok(None);
        }
        let counters = &self.entries.counters;
        let is_other = |claim: &Claim<K, V>, said: Result<Said<V>, Error>| {
            let says = said.as_ref().map_or(Says::Nothing, |said| self.says(claim, said));
            let_go(said);
            match says {
                Says::Other => {}
                Says::Same => counters.verified_equal.add(1),
                Says::Nothing => counters.unverified.add(1),
            }
            says == Says::Other
        };
        Ok(Some(suspects.iter().zip(said).map(|(claim, said)| is_other(claim, said)).collect()))
    }

    /// Waits until those have published what they wrote, or have undone it, who are about to now; `false`: nobody is left whom it concerns.
    ///
    /// # Errors
    /// They have not in time, or it cannot be told.
    async fn until_published(&self, which: Ending, suspects: &[Claim<K, V>]) -> Result<bool, Error> {
        let is_left = || suspects.iter().any(|claim| self.is_standing(claim));
        let ended = until_ended(|| self.store.unpublished(which), is_left);
        within("waiting for transactions that are just ending", PUBLISHED_MAX, ended).await
    }

    /// Has them loaded by whoever reads them next, and says that they were held.
    fn convict(&self, guilty: &[Claim<K, V>], said: &Seldom) {
        let Some(first) = guilty.first() else { return };
        if let Some(not_said) = said.kept_back() {
            tracing::warn!(
                table = self.entries.schema.display_name(),
                rows = guilty.len(),
                key_hash = format!("{:016x}", first.hash.0),
                version = first.version.0,
                not_said,
                "rows are held otherwise than Postgres has them, and the feed has told of no change"
            );
        }
        guilty.iter().for_each(|claim| self.invalidate(claim.hash));
        self.entries.note_violations(guilty.len() as u64);
    }
}

/// Waits until none of those is under way any more who are now, or nobody is left whom that concerns: `false`.
async fn until_ended<F>(under_way: impl Fn() -> F, is_left: impl Fn() -> bool) -> Result<bool, Error>
where
    F: Future<Output = Result<HashSet<String>, Error>>,
{
    let (mut left, mut pause) = (under_way().await?, LOOK_PAUSE);
    while !left.is_empty() {
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LOOK_PAUSE_MAX);
        if !is_left() {
            return Ok(false);
        }
        let now = under_way().await?;
        left.retain(|transaction| now.contains(transaction));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// As many looks as it takes, of which each shows these transactions.
    async fn waits(shown: &[&[&str]], concerns: usize) -> (Option<bool>, usize) {
        let looks = Cell::new(0);
        let under_way = async || {
            let now = shown.get(looks.get()).map(|now| now.iter().map(|of| (*of).to_owned()).collect());
            looks.set(looks.get() + 1);
            now.ok_or_else(Error::closed)
        };
        let ended = until_ended(under_way, || looks.get() < concerns).await;
        (ended.ok(), looks.get())
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_later_is_not_waited_for() {
        assert_eq!(waits(&[&[]], 9).await, (Some(true), 1));
        assert_eq!(waits(&[&["a", "b"], &["b", "c"], &["c"]], 9).await, (Some(true), 3));
        assert_eq!(waits(&[&["a"]], 9).await, (None, 2), "it cannot be told");
    }

    #[tokio::test(start_paused = true)]
    async fn that_nobody_is_left_whom_it_concerns_is_no_error() {
        assert_eq!(waits(&[&["a"], &["a"], &["a"]], 2).await, (Some(false), 2));
    }
}
