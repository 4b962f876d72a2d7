//! Buffered writes, against moka alone with the same entries.

use crate::measure::{Rounds, nanos_per_operation};
use crate::report::{Figure, Report, Target};
use cache_sync::{Cache, Client};
use cache_sync_kit::{Dice, Result, connect};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

const ENTRIES: i64 = 100_000;

/// A row of the usual size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) city: String,
    pub(crate) score: i32,
    pub(crate) active: bool,
}

pub(crate) async fn run(dsn: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let sql = connect(dsn).await?;
    sql.batch_execute(&format!(
        "CREATE TABLE profile (id bigint PRIMARY KEY, name text, city text, score int, active bool);
         SELECT cache_sync.attach('profile', versioned => true);
         INSERT INTO profile SELECT i, 'name ' || i, 'city ' || i % 100, i % 1000, true FROM generate_series(0, {ENTRIES} - 1) i"
    ))
    .await?;
    // The writes are to be measured, not how many the buffer holds: it takes all keys at once.
    let client =
        Client::builder(dsn).buffer_entries_max(2 * ENTRIES as usize).buffer_bytes_max(1 << 30).connect().await?;
    let cache: Cache<i64, Profile> = client.cache("profile").max_capacity(2 * ENTRIES as u64).open().await?;
    let keys: Vec<i64> = (0..ENTRIES).collect();
    let raw: moka::sync::Cache<i64, Arc<Profile>> = moka::sync::Cache::new(2 * ENTRIES as u64);
    for (key, profile) in keys.iter().zip(cache.get_many(&keys).await?) {
        raw.insert(*key, profile.ok_or("a row that was just inserted is missing")?);
    }
    writes(&cache, &raw, rounds, report).await?;
    client.close(Duration::from_secs(60)).await?;
    Ok(())
}

type Raw = moka::sync::Cache<i64, Arc<Profile>>;

/// What has been accepted is flushed while the writes go on, as in an application.
async fn writes(cache: &Cache<i64, Profile>, raw: &Raw, rounds: Rounds, report: &mut Report) -> Result<()> {
    const STEP: usize = 100;
    let profile = |score: i32| Profile { name: "Ann".into(), city: "Ulm".into(), score, active: true };
    let (mut our_keys, mut their_keys) = (Dice::new(2), Dice::new(2));
    let sides = rounds
        .alternate(
            async || {
                let mut failed = None;
                let nanos = nanos_per_operation(rounds.time(), || {
                    for score in 0..STEP {
                        let key = our_keys.below(ENTRIES as u64) as i64;
                        match cache.put(key, profile(score as i32)).now_or_never() {
                            Some(Ok(_receipt)) => {}
                            Some(Err(error)) => failed = Some(error.to_string()),
                            None => failed = Some("a buffered write had to wait".to_owned()),
                        }
                    }
                    STEP
                });
                failed.map_or(Ok(nanos), |error| Err(error.into()))
            },
            async || {
                Ok(nanos_per_operation(rounds.time(), || {
                    for score in 0..STEP {
                        let key = their_keys.below(ENTRIES as u64) as i64;
                        raw.insert(key, Arc::new(profile(score as i32)));
                    }
                    STEP
                }))
            },
        )
        .await?;
    report
        .rounds(Figure::new("memory", "buffered write / moka insert, 100k entries", "ns", Target::AtMost(2.0)), &sides);
    Ok(())
}
