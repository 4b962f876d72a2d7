//! What was committed, told as a server tells it.

use super::faults::broken;
use super::inner::Inner;
use crate::common::lock::lock;
use crate::error::{Error, ErrorKind, Step};
use crate::store::{FeedLink, Since};
use async_trait::async_trait;
use cache_sync_core::number::{Epoch, Lsn, Position, Stamp};
use cache_sync_core::wire::{Body, Change, Message, WireError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const LISTENING: Step = "listening to the feed";
/// So long nothing is said where there is nothing new.
const HEARTBEAT: Duration = Duration::from_millis(25);

/// A subscription.
pub(super) struct MemoryFeed {
    database: Arc<Inner>,
    news: watch::Receiver<()>,
    broken: watch::Receiver<u64>,
    deaf: watch::Receiver<bool>,
    tables: Vec<i32>,
    since: Option<Since>,
    /// Up to where it has told, and in which epoch; `None` before it has begun.
    told: Option<(Epoch, Position)>,
}

impl MemoryFeed {
    pub(super) fn new(database: Arc<Inner>) -> MemoryFeed {
        let (news, broken, deaf) =
            (database.news.subscribe(), database.faults.broken.subscribe(), database.faults.deaf.subscribe());
        MemoryFeed { database, news, broken, deaf, tables: Vec::new(), since: None, told: None }
    }

    /// What there is to be told; `None`: nothing new.
    fn message(&mut self) -> Result<Option<Message>, Error> {
        let state = lock(&self.database.state);
        let message = |body| Message {
            epoch: state.epoch,
            position: state.position,
            hlc: state.hlc(),
            lsn: Lsn(state.position.0),
            sent: state.host_time(),
            as_of: Some(state.host_time()),
            body,
        };
        let Some((epoch, position)) = self.told else {
            let resumed = self.since.filter(|since| since.epoch == state.epoch);
            let resumed = resumed.filter(|since| state.since(since.position).is_some());
            let from = resumed.map_or(state.position, |since| since.position);
            self.told = Some((state.epoch, from));
            let as_of = if from == state.position { Some(state.host_time()) } else { None };
            let start = Message { position: from, as_of, ..message(Body::Start { resumed: resumed.is_some() }) };
            return Ok(Some(start));
        };
        if epoch != state.epoch {
            return Err(broken(LISTENING));
        }
        if position == state.position {
            return Ok(None);
        }
        self.told = Some((epoch, state.position));
        let Some(changes) = state.since(position) else { return Ok(Some(message(Body::Gap))) };
        let is_wanted = |change: &&Change| self.tables.contains(&change.table.0);
        Ok(Some(message(Body::Changes(changes.filter(is_wanted).copied().collect()))))
    }

    /// `None`: it is of another epoch by now.
    fn heartbeat(&self) -> Option<Message> {
        let state = lock(&self.database.state);
        if self.told.is_some_and(|(epoch, _)| epoch != state.epoch) {
            return None;
        }
        let (position, now) = (self.told.map_or(state.position, |(_, position)| position), state.host_time());
        let (lsn, hlc) = (Lsn(position.0), state.hlc());
        // What came since the last look is told next.
        let as_of = (position == state.position).then_some(now);
        Some(Message { epoch: state.epoch, position, hlc, lsn, sent: now, as_of, body: Body::Heartbeat })
    }
}

#[async_trait]
impl FeedLink for MemoryFeed {
    fn begin(&mut self, tables: &[i32], since: Option<Since>) {
        self.tables = tables.to_vec();
        (self.since, self.told) = (since, None);
    }

    async fn next(&mut self) -> Result<Option<Message>, Error> {
        loop {
            self.news.borrow_and_update();
            if self.broken.has_changed().unwrap_or(true) {
                return Err(broken(LISTENING));
            }
            let is_deaf = *self.deaf.borrow_and_update();
            if !is_deaf && let Some(message) = self.message()? {
                return Ok(Some(message));
            }
            tokio::select! {
                biased;
                _ = self.broken.changed() => return Err(broken(LISTENING)),
                _ = self.deaf.changed() => {}
                _ = self.news.changed(), if !is_deaf => {}
                () = tokio::time::sleep(HEARTBEAT), if !is_deaf => {
                    if let Some(heartbeat) = self.heartbeat() {
                        return Ok(Some(heartbeat));
                    }
                }
            }
        }
    }

    fn listen(&self) -> BoxFuture<'static, Result<(), Error>> {
        never()
    }

    fn probe(&self, _tables: Vec<i32>) -> BoxFuture<'static, Result<(Epoch, Stamp), Error>> {
        never()
    }

    async fn notified(&mut self) -> Result<Option<Result<Message, WireError>>, Error> {
        never().await
    }
}

/// It has a feed, so nobody notifies.
fn never<T: Send + 'static>() -> BoxFuture<'static, Result<T, Error>> {
    async { Err(Error::new(ErrorKind::Mismatch, "the database in memory has a feed")) }.boxed()
}
