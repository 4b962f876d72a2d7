//! One connection of the feed, and who is concerned.

use crate::common::Common;
use crate::error::Step;
use crate::status::FeedKind;
use crate::store::{FeedLink, Store};
use cache_sync_core::number::Epoch;
use tracing::{Span, field};

pub(super) const LISTENING: Step = "listening to the feed";

/// One connection of the feed, and who is concerned.
pub(super) struct Link<'a> {
    pub(super) feed: Box<dyn FeedLink>,
    pub(super) store: &'a Store,
    pub(super) common: &'a Common,
    pub(super) span: Span,
}

impl Link<'_> {
    /// It has begun.
    pub(super) fn begins(&self, kind: FeedKind, epoch: Epoch) {
        self.span.record("kind", field::debug(kind)).record("epoch", epoch.0);
    }
}
