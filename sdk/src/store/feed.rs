//! What was committed, as a database tells it.

use crate::error::Error;
use async_trait::async_trait;
use cache_sync_core::number::{Epoch, Position, Stamp};
use cache_sync_core::wire::{Message, WireError};
use futures_util::future::BoxFuture;

/// Where a feed goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
}

/// A connection that tells what was committed: as a feed, or, of a server that has none in shared memory, what writers notify.
#[async_trait]
pub(crate) trait FeedLink: Send {
    /// Begins the feed of these tables.
    fn begin(&mut self, tables: &[i32], since: Option<Since>);

    /// The next message of the feed; `None` for what is not one. Where it is given up nothing is lost.
    async fn next(&mut self) -> Result<Option<Message>, Error>;

    /// Has writers notify this connection.
    fn listen(&self) -> BoxFuture<'static, Result<(), Error>>;

    /// Asks, as somebody to whom writers notify, for the server's epoch and clock, and whether the tables may be read. The answer comes behind
    /// what was notified before.
    fn probe(&self, tables: Vec<i32>) -> BoxFuture<'static, Result<(Epoch, Stamp), Error>>;

    /// What was notified next; `None` for what is not of the feed. Where it is given up nothing is lost.
    async fn notified(&mut self) -> Result<Option<Result<Message, WireError>>, Error>;
}
