//! What was committed, for callers who do something of their own with it.

use super::{Client, Shared};
use crate::change::{Change, Listener, Part, Pending};
use crate::common::liveness::Liveness;
use crate::common::watch::Watch;
use crate::error::Error;
use futures_util::stream::unfold;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

impl Client {
    /// Tells of everything that is committed from now on to these tables, by whomever: for what this client does not hold, such as pages that another
    /// service renders, or callers who have a part of a table of their own. Names are as SQL would write them; the tables must be attached, and
    /// no cache of them need be open.
    ///
    /// Of rows it tells the hash of their keys ([`Cache::key_hash`](crate::Cache::key_hash)) and not what is in them. They come in the order in
    /// which they were committed; a row that has changed again before it was taken keeps its place, and where more than 10,000 rows wait the table
    /// that most of them are of is told as a whole. The client goes on for as long as somebody has the stream.
    ///
    /// # Errors
    /// When a table is not attached, or the feed does not answer ([`Error::is_unavailable`]). An item is an error where a table is
    /// not the one any more that was named; when none is left, the stream ends.
    pub async fn changes<T: AsRef<str>>(
        &self,
        tables: impl IntoIterator<Item = T>,
    ) -> Result<Watch<Result<Change, Error>>, Error> {
        let names: Vec<String> = tables.into_iter().map(|name| name.as_ref().to_owned()).collect();
        let listening = Listening::begin(&self.shared, &names).await?;
        Ok(Watch::new(unfold(listening, async |mut listening| {
            let item = listening.next().await?;
            Some((item, listening))
        })))
    }
}

/// How long it may take until it is known here that the feed is heard.
const BEGINNING: Duration = Duration::from_millis(500);

/// Which listener somebody is, of all in this process.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Somebody who hears of some tables.
struct Listening {
    shared: Arc<Shared>,
    number: u64,
    listeners: Vec<Arc<Listener>>,
    pending: Arc<Pending>,
    liveness: Liveness,
    was_heard: bool,
}

impl Listening {
    async fn begin(shared: &Arc<Shared>, names: &[String]) -> Result<Listening, Error> {
        shared.common.check_open()?;
        let mut listening = Listening {
            shared: shared.clone(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            listeners: Vec::new(),
            pending: Arc::default(),
            liveness: shared.liveness(),
            was_heard: true,
        };
        let mut last = None;
        for name in names {
            let meta = shared.store.describe(name).await?;
            if listening.listeners.iter().any(|known| known.table() == meta.table_id) {
                continue;
            }
            let listener = Arc::new(Listener::new(meta, listening.pending.clone()));
            last = Some(shared.feed.register(listener.table(), Part::Listener(listening.number), listener.clone()));
            listening.listeners.push(listener);
        }
        if let Some(last) = last {
            shared.feed.subscribed(last, &shared.store).await?;
        }
        // What happened to a table before it was subscribed to is not told.
        for listener in &listening.listeners {
            if !listener.check(&shared.store).await? {
                return Err(listener.retirement());
            }
        }
        // On a new client the feed begins with a gap, which is over now.
        shared.store.wait(listening.liveness.until_heard(), BEGINNING).await;
        listening.was_heard = listening.liveness.is_heard();
        listening.pending.clear();
        Ok(listening)
    }

    async fn next(&mut self) -> Option<Result<Change, Error>> {
        loop {
            // Before what is taken: what was missed is told ahead of its being heard again.
            let is_heard = self.liveness.is_heard();
            if let Some(item) = self.pending.take() {
                return Some(item);
            }
            if self.listeners.iter().all(|listener| listener.is_retired()) {
                // The last one may have been told meanwhile.
                return self.pending.take();
            }
            if std::mem::replace(&mut self.was_heard, is_heard) != is_heard {
                return Some(Ok(if is_heard { Change::Heard } else { Change::Silent }));
            }
            tokio::select! {
                () = self.pending.more.notified() => {}
                is_open = self.liveness.turned() => {
                    if !is_open {
                        return None;
                    }
                }
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        for listener in &self.listeners {
            self.shared.feed.unregister(listener.table(), Part::Listener(self.number), &**listener);
        }
    }
}
