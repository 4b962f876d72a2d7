//! Batches of patches.

use crate::error::Error;
use crate::receipt::Refusal;
use async_trait::async_trait;
use cache_sync_core::number::{Epoch, Fence, Sequence};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// The connection that all flushers of a client share.
#[async_trait]
pub(crate) trait Batches: Send + Sync {
    /// The connection, opened anew if it was lost.
    async fn get(&self) -> Result<Arc<dyn BatchLink>, Error>;

    /// Gives the connection up: nothing comes back on it.
    async fn forget(&self);

    /// The server may not be the one to write to.
    fn doubt_server(&self);
}

/// A connection for batches.
#[async_trait]
pub(crate) trait BatchLink: Send + Sync {
    /// Opens (or opens again) the client's line of batches to a table.
    async fn open_session(&self, table: u32, session: Uuid) -> Result<OpenedSession, Error>;

    /// Sends a batch. It has been committed, or what comes is an error.
    async fn apply(&self, batch: &Sending<'_>) -> Result<Applied, Error>;

    /// Why patches of a batch were refused, by their places: of so many.
    async fn dead_letters(
        &self,
        session: Uuid,
        sequence: Sequence,
        refused: usize,
    ) -> Result<HashMap<usize, Refusal>, Error>;
}

/// A batch as it goes out.
pub(crate) struct Sending<'a> {
    /// The table's oid.
    pub(crate) table: u32,
    pub(crate) session: Uuid,
    pub(crate) fence: Fence,
    /// The server's number of the batch.
    pub(crate) sequence: Sequence,
    pub(crate) shapes: &'a str,
    pub(crate) rows: &'a [String],
    /// It has failed in a way that does not say whose fault it is: any of its patches may be to blame.
    pub(crate) is_suspicious: bool,
}

/// A session of which the fences of before are worthless now.
pub(crate) struct OpenedSession {
    pub(crate) fence: Fence,
    /// The server's number of the last batch that was applied.
    pub(crate) last: Sequence,
}

/// The answer to a batch.
pub(crate) struct Applied {
    pub(crate) epoch: Epoch,
    pub(crate) outcomes: Vec<u8>,
}
