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
use crate::entries::{Claim, Entries, Says, Standing};
use crate::error::Error;
use crate::store::{Ending, within};
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
            Ok(are_others) => {
                let others =
                    suspects.into_iter().zip(are_others).filter_map(|(claim, is_other)| is_other.then_some(claim));
                self.standing_after_the_feed(others.collect()).await
            }
            Err(error) => {
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
        let Entries { common, counters, .. } = &*self.entries;
        let asked = common.now();
        loop {
            // Before they are looked at: all that it vouches for then has been done to them.
            let in_step_at = common.freshness.in_step_at();
            suspects.retain(|claim| {
                let standing = self.entries.standing(claim);
                match standing {
                    Standing::Stands => {}
                    Standing::Gone => counters.verified_behind.add(1),
                    Standing::OwnWrite => counters.unverified.add(1),
                }
                standing == Standing::Stands
            });
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

    /// To which of them Postgres says something else once more, when that has been published.
    async fn others_once_more(&self, suspects: &[Claim<K, V>]) -> Result<Vec<bool>, Error> {
        if self.standby.is_some() {
            self.until_published(Ending::Any, suspects).await?;
        }
        let keys: Vec<_> = suspects.iter().map(|claim| claim.key.clone()).collect();
        let said = self.ask(&keys, For::Nobody).await?;
        self.until_published(Ending::Seen, suspects).await?;
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
        Ok(suspects.iter().zip(said).map(|(claim, said)| is_other(claim, said)).collect())
    }

    /// Waits until those have published what they wrote, or have undone it, who are about to now.
    ///
    /// # Errors
    /// They have not, or nobody is left whom it concerns.
    async fn until_published(&self, which: Ending, suspects: &[Claim<K, V>]) -> Result<(), Error> {
        within("waiting for transactions that are just ending", PUBLISHED_MAX, async {
            let (mut left, mut pause) = (self.store.unpublished(which).await?, LOOK_PAUSE);
            while !left.is_empty() {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LOOK_PAUSE_MAX);
                if !suspects.iter().any(|claim| self.is_standing(claim)) {
                    return Err(Error::closed());
                }
                let now = self.store.unpublished(which).await?;
                left.retain(|transaction| now.contains(transaction));
            }
            Ok(())
        })
        .await
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
