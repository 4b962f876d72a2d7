//! The handle on one database.
//!
//! ```text
//! builder     settings, and how a client connects      shared   what all its handles and caches share
//! supervisor  owns the client's tasks                  table    what a client does with each of its tables
//! changes     what was committed, for callers          token    points in the database's history
//! publisher   counters and gauges, now and then
//! ```

mod builder;
mod changes;
#[cfg(feature = "in-memory")]
mod in_memory;
mod publisher;
mod shared;
mod supervisor;
mod table;
mod token;

pub use builder::ClientBuilder;
pub(crate) use shared::Shared;
pub(crate) use table::CacheTable;
pub use token::Token;

use crate::common::lock::lock;
use crate::error::Error;
use crate::receipt::{Receipt, Unwritten};
use crate::status::Status;
use crate::store::within;
use cache_sync_core::sqlstate::NOT_PRELOADED;
use futures_util::future::join_all;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A connection to one database that keeps caches of its tables in step. Cloning it is cheap; all clones are one client.
///
/// A client uses a pool of connections for loads, one connection for its batches and one for the feed.
/// Call [`Client::close`] before the process ends: what is still in the buffer then is lost.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("is_open", &self.shared.common.check_open().is_ok()).finish_non_exhaustive()
    }
}

impl Client {
    /// Waits until everything that was committed before this call has been seen by all caches of this client.
    ///
    /// # Errors
    /// [`Error::is_unavailable`] when Postgres or the feed does not answer in time.
    pub async fn catch_up(&self) -> Result<(), Error> {
        let shared = &self.shared;
        shared.common.check_open()?;
        within("catching up with the feed", shared.config.query_timeout, async {
            // Where nothing is held any more there is nothing to wait for.
            while !shared.feed.is_idle() && !shared.feed.probed().await {
                shared.common.check_open()?;
                match shared.store.feed_head().await {
                    Ok((epoch, position)) if shared.feed.reached(epoch, position).await => break,
                    // The server was restarted meanwhile.
                    Ok(_) => {}
                    // The server was started without the library; the feed will notice.
                    Err(error) if error.sqlstate() == Some(NOT_PRELOADED) => shared.feed.is_heard_by_notify().await,
                    Err(error) => return Err(error),
                }
            }
            shared.feed.end_holds();
            Ok(())
        })
        .await
    }

    /// Waits until every write accepted before this call has its outcome.
    ///
    /// # Errors
    /// [`Error::is_closed`] when the client is closed meanwhile; [`Error::is_unwritten`] when Postgres did not take one of them in
    /// time (see [`ClientBuilder::write_timeout`]), once all others have their outcomes.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared.common.check_alive()?;
        let written = join_all(self.flush_now().into_iter().map(Receipt::written)).await;
        written.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }

    /// Asks for a flush of everything, and returns receipts for it.
    fn flush_now(&self) -> Vec<Receipt> {
        let tables: Vec<_> = lock(&self.shared.tables).iter().map(|(_, table)| table.clone()).collect();
        tables.iter().flat_map(|table| table.flush_now()).collect()
    }

    /// Accepts no more, writes what is buffered for up to `deadline`, and ends every task. Returns what Postgres may not
    /// have: nothing, if all went well. What is held may be read for as long as the feed has vouched for it
    /// ([`ClientBuilder::feed_timeout`]); all else fails ([`Error::is_closed`]).
    ///
    /// Called again it goes on where it was given up, or returns the same list.
    ///
    /// # Errors
    /// None at present.
    pub async fn close(&self, deadline: Duration) -> Result<Vec<Unwritten>, Error> {
        let shared = &self.shared;
        shared.common.closed.store(true, Ordering::Release);
        shared.budget.close();
        let mut unwritten = shared.unwritten.lock().await;
        if let Some(unwritten) = &*unwritten {
            return Ok(unwritten.clone());
        }
        // Whoever gives up waiting may call again; once tasks have been told to end, nothing is written any more.
        if !shared.supervisor.is_ending() {
            let decided = join_all(self.flush_now().into_iter().map(Receipt::decided));
            let _ = tokio::time::timeout(deadline, decided).await;
        }
        shared.supervisor.end().await;
        shared.publish_last();
        shared.store.close();
        shared.feed.end();
        shared.standby.iter().for_each(|standby| standby.close());
        let tables = std::mem::take(&mut *lock(&shared.tables));
        tables.iter().for_each(|(_, table)| table.abandon());
        let left: Vec<_> = tables.into_iter().flat_map(|(_, table)| table.take_unwritten()).collect();
        if !left.is_empty() {
            tracing::error!(
                ?deadline,
                patches = left.len(),
                "the client was closed with patches that Postgres may not have"
            );
        }
        Ok(unwritten.insert(left).clone())
    }

    /// What the client is doing.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Only for tests: the feed goes on, but tells nobody.
    #[cfg(feature = "test-faults")]
    pub fn mute_feed(&self, muted: bool) {
        self.shared.feed.muted.store(muted, Ordering::Release);
    }

    /// Only for tests: as if the machine had been suspended for so long, its boot clock goes on and nothing else does.
    #[cfg(feature = "test-faults")]
    pub fn suspend(&self, time: Duration) {
        self.shared.common.clock.time.suspend(time);
    }
}
