//! The feed from shared memory: `CALL cache_sync.stream`.

use super::link::{LISTENING, Link};
use super::{Feed, Progress};
use crate::error::{Error, ErrorKind};
use crate::pg::{Since, stream_statement};
use crate::status::FeedKind;
use cache_sync_core::number::Epoch;
use cache_sync_core::wire::{Body, CHANNEL, Message};
use std::sync::atomic::Ordering;
use tokio_postgres::Client;

/// One subscription, from its CALL to its end.
struct Subscription {
    registration: u64,
    caught_up: bool,
}

impl Feed {
    /// One subscription. Ends with an error, or without one when tables were added and it must be made anew.
    pub(super) async fn stream(&self, client: &Client, link: &mut Link<'_>) -> Result<(), Error> {
        let registration = self.registration.load(Ordering::Acquire);
        let tables = self.tables();
        let Progress { epoch, position, .. } = self.progress();
        let since = (epoch != Epoch(0)).then_some(Since { epoch, position });
        let statement = stream_statement(&tables, since);
        let call = client.batch_execute(&statement);
        tokio::pin!(call);
        let mut subscription = Subscription { registration, caught_up: false };
        loop {
            tokio::select! {
                biased;
                message = next(link) => {
                    if let Some(message) = message? {
                        self.take(&message, &mut subscription, link).await?;
                    }
                }
                ended = &mut call => {
                    ended.map_err(|error| Error::query(LISTENING, error))?;
                    return Err(Error::new(ErrorKind::Unavailable, "the server ended the feed"));
                }
                () = self.resubscribe.notified() => {
                    if self.registration.load(Ordering::Acquire) != registration {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn take(&self, message: &Message, subscription: &mut Subscription, link: &mut Link<'_>) -> Result<(), Error> {
        let common = link.common;
        if subscription.caught_up && !common.freshness.is_live() {
            // This process was stopped, or too busy to listen: what it finds now was sent then, and says nothing of now.
            return Err(Error::timeout(LISTENING, common.freshness.timeout()));
        }
        common.clock.hear(message.hlc);
        let before = common.freshness.lsn().filter(|_| common.freshness.epoch() == message.epoch.0);
        if !self.is_muted() {
            common.freshness.set_lsn(before.max(Some(message.lsn)));
        }
        match &message.body {
            Body::Start { resumed } => {
                self.is_of(FeedKind::Stream);
                self.begin(message.epoch, *resumed, link.store, &common.freshness).await?;
                subscription.caught_up = false;
            }
            Body::Gap => self.doubt_everything(),
            Body::Changes(changes) => self.tell(changes),
            Body::Heartbeat => subscription.caught_up = true,
        }
        // Until everything that was missed meanwhile has been told, entries may be as old as the interruption was long.
        if subscription.caught_up {
            common.freshness.heard();
        }
        let registration =
            if subscription.caught_up { subscription.registration } else { self.progress().registration };
        self.progress.send_replace(Progress { epoch: message.epoch, position: message.position, registration });
        Ok(())
    }
}

/// The next message of the feed; `None` for what is not one. Silence for longer than the bound on staleness is an error.
async fn next(link: &mut Link<'_>) -> Result<Option<Message>, Error> {
    let timeout = link.common.freshness.timeout();
    let notification =
        tokio::time::timeout(timeout, link.notification()).await.map_err(|_| Error::timeout(LISTENING, timeout))??;
    let Some(notification) = notification.filter(|notification| notification.channel() == CHANNEL) else {
        return Ok(None);
    };
    let message = Message::decode(notification.payload());
    message.map(Some).map_err(|error| Error::caused(ErrorKind::Mismatch, "the feed cannot be understood", error))
}
