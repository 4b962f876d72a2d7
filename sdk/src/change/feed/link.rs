//! What comes over one connection of the feed, and who is concerned.

use crate::common::Common;
use crate::error::{Error, ErrorKind, Step};
use crate::pg::{Messages, Store};
use crate::status::FeedKind;
use cache_sync_core::number::Epoch;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio_postgres::{AsyncMessage, Notification};
use tracing::{Span, field};

pub(super) const LISTENING: Step = "listening to the feed";

/// What comes over one connection of the feed, and who is concerned.
pub(super) struct Link<'a> {
    pub(super) messages: Messages,
    /// Whether the server is still the one to hear.
    pub(super) doubts: watch::Receiver<u64>,
    pub(super) store: &'a Store,
    pub(super) common: &'a Common,
    pub(super) span: Span,
}

impl Link<'_> {
    /// It has begun.
    pub(super) fn begins(&self, kind: FeedKind, epoch: Epoch) {
        self.span.record("kind", field::debug(kind)).record("epoch", epoch.0);
    }

    /// The next notification; `None` for what is none.
    pub(super) async fn notification(&mut self) -> Result<Option<Notification>, Error> {
        let message = tokio::select! {
            biased;
            message = self.messages.next() => message,
            _ = self.doubts.changed() => {
                return Err(Error::new(ErrorKind::Unavailable, "the server may not be the primary any more"));
            }
        };
        match message {
            Some(Ok(AsyncMessage::Notification(notification))) => Ok(Some(notification)),
            Some(Ok(_)) => Ok(None),
            Some(Err(error)) => Err(Error::query(LISTENING, error)),
            None => Err(Error::new(ErrorKind::Unavailable, "the feed's connection was closed")),
        }
    }
}
