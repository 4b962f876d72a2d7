//! Tells when a change arrives: a thread looks at one entry all the time and says when it is no longer there as it was.

use std::sync::Arc;
use std::time::Duration;

use super::Accounts;
use super::ops::Work;
use crate::message::Message;
use cache_sync::Freshness;
use cache_sync_kit::clock::now_ns;

/// How long the thread looks away: how exact the answer is.
const GLANCE: Duration = Duration::from_micros(50);

/// The account that the sampler changes and the nodes look at: the last, which hardly anybody else touches.
pub(crate) fn probed(accounts: u32) -> i32 {
    i32::try_from(accounts).unwrap_or(i32::MAX)
}

/// How long it pauses while nothing is held.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts the thread; it ends with the work.
pub(crate) fn start(cache: Accounts, accounts: u32, work: Arc<Work>) {
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let aid = probed(accounts);
        let mut dropped_at = None;
        while !work.is_stopped() {
            if let Some(held) = version(&cache, aid, &work) {
                while version(&cache, aid, &work) == Some(held) && !work.is_stopped() {
                    std::thread::sleep(GLANCE);
                }
                dropped_at = Some(now_ns());
            }
            // Errors pass: the next look tries again.
            let loaded = runtime.block_on(cache.lookup(&aid, Freshness::Cached));
            if let (Ok(read), Some(at_ns)) = (&loaded, dropped_at.take())
                && (Message::Dropped { version: read.version.0, at_ns }).send().is_err()
            {
                return;
            }
            if loaded.is_err() || version(&cache, aid, &work).is_none() {
                // Postgres is away, or the feed: nothing is held, and asking all the time would only keep them from coming back.
                std::thread::sleep(PAUSE);
            }
        }
    });
}

fn version(cache: &Accounts, aid: i32, work: &Work) -> Option<i64> {
    let read = cache.held(&aid)?;
    work.count_glance();
    Some(read.version.0)
}
