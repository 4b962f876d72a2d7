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

/// How often it is looked whether something has come to pass.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// For how long those are waited for who may have something to publish.
const PUBLISHED_MAX: Duration = Duration::from_secs(30);

/// Looks into what differs, in a task of its own.
pub(crate) struct Judge<K, V>(pub(crate) Arc<Reads<K, V>>);

impl<K: Key, V: CacheValue> Judge<K, V> {
    /// Judges until nobody will read any more, or its task is ended.
    pub(crate) async fn run(self) {
        let (reads, said) = (&*self.0, Seldom::default());
        while !reads.comparisons.is_closed() {
            reads.comparisons.suspected.notified().await;
            let suspects = std::mem::take(&mut *lock(&reads.comparisons.suspects));
            let guilty = reads.judge(suspects.into_values().collect()).await;
            // From then on the feed does not tell this cache any more.
            if !reads.comparisons.is_closed() {
                reads.convict(&guilty, &said);
            }
        }
    }
}

impl<K: Key, V: CacheValue> Reads<K, V> {
    /// Those that should not be held any more. All others are counted as what they are.
    async fn judge(&self, suspects: Vec<Claim<K, V>>) -> Vec<Claim<K, V>> {
        let suspects = self.standing_after_the_feed(suspects).await;
        if suspects.is_empty() {
            return suspects;
        }
        let count = suspects.len() as u64;
        match self.other_once_more(suspects).await {
            Ok(suspects) => self.standing_after_the_feed(suspects).await,
            Err(error) => {
                tracing::debug!(error = %error.logged(), "what is held could not be compared once more");
                self.entries.counters.unverified.add(count);
                Vec::new()
            }
        }
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
        }
    }

    /// Those to which Postgres says something else once more, when that has been published.
    async fn other_once_more(&self, suspects: Vec<Claim<K, V>>) -> Result<Vec<Claim<K, V>>, Error> {
        if self.standby.is_some() {
            self.until_published(Ending::Any).await?;
        }
        let keys: Vec<_> = suspects.iter().map(|claim| claim.key.clone()).collect();
        let said = self.ask(&keys, For::Nobody).await?;
        self.until_published(Ending::Seen).await?;
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
        let others = suspects.into_iter().zip(said).filter_map(|(claim, said)| is_other(&claim, said).then_some(claim));
        Ok(others.collect())
    }

    /// Waits until those have published what they wrote, or have undone it, who are about to now.
    async fn until_published(&self, which: Ending) -> Result<(), Error> {
        within("waiting for transactions that are just ending", PUBLISHED_MAX, async {
            let mut left = self.store.unpublished(which).await?;
            while !left.is_empty() {
                tokio::time::sleep(LOOK_PAUSE).await;
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
