//! The feed from shared memory: `CALL cache_sync.stream`.

use super::link::{LISTENING, Link};
use super::{Feed, Progress};
use crate::common::Common;
use crate::common::time::Moment;
use crate::error::Error;
use crate::meter::ToldAt;
use crate::status::FeedKind;
use crate::store::{FeedLink, Since};
use cache_sync_core::number::Epoch;
use cache_sync_core::wire::{Body, Message};
use std::sync::atomic::Ordering;

/// One subscription, from its CALL to its end.
struct Subscription {
    registration: u64,
    /// When it was asked for.
    asked: Moment,
    /// Everything that was missed before it has been told.
    caught_up: bool,
    /// Since when what comes is too old to serve anything by it.
    behind_since: Option<Moment>,
}

impl Feed {
    /// One subscription. Ends with an error, or with the next connection when tables were added.
    pub(super) async fn stream(&self, link: &mut Link<'_>) -> Result<Box<dyn FeedLink>, Error> {
        let registration = self.registration.load(Ordering::Acquire);
        let tables = self.tables();
        let Progress { epoch, position, .. } = self.progress();
        let resumes = epoch != Epoch(0) && !self.is_to_skip.load(Ordering::Acquire);
        let asked = link.common.now();
        let store = link.store;
        link.feed.begin(&tables, resumes.then_some(Since { epoch, position }));
        let mut next_connection = None;
        let mut subscription = Subscription { registration, asked, caught_up: false, behind_since: None };
        loop {
            tokio::select! {
                biased;
                message = next(link) => {
                    if let Some(message) = message? {
                        self.take(&message, &mut subscription, link).await?;
                        self.check_pace(&mut subscription, link.common)?;
                    }
                }
                () = self.resubscribe.notified(), if next_connection.is_none() => {
                    if !self.is_served(&tables, &mut subscription) {
                        next_connection = Some(Box::pin(self.next_connection(&tables, store)));
                    }
                }
                connected = async { next_connection.as_mut()?.await }, if next_connection.is_some() => {
                    next_connection = None;
                    match connected {
                        Some(connected) => return Ok(connected),
                        // Whoever wanted others does so no more.
                        None => self.resubscribe.notify_one(),
                    }
                }
            }
        }
    }

    /// Whether the subscription has all tables that somebody wants; then it serves all who have registered.
    fn is_served(&self, tables: &[i32], subscription: &mut Subscription) -> bool {
        let registration = self.registration.load(Ordering::Acquire);
        if self.tables() != tables {
            return false;
        }
        subscription.registration = registration;
        if subscription.caught_up {
            self.progress.send_modify(|progress| progress.registration = registration);
        }
        true
    }

    async fn take(&self, message: &Message, subscription: &mut Subscription, link: &mut Link<'_>) -> Result<(), Error> {
        let common = link.common;
        if matches!(message.body, Body::Start { .. }) {
            if common.freshness.epoch() != message.epoch.0 {
                common.clock.forget_server();
            }
            common.clock.compare(subscription.asked, message.sent);
        }
        self.set_clock(message, common);
        let before = common.freshness.lsn().filter(|_| common.freshness.epoch() == message.epoch.0);
        if !self.is_muted() {
            common.freshness.set_lsn(before.max(Some(message.lsn)));
        }
        match &message.body {
            Body::Start { resumed } => {
                self.is_of(FeedKind::Stream);
                link.begins(FeedKind::Stream, message.epoch);
                self.is_to_skip.store(false, Ordering::Release);
                self.begin(message.epoch, *resumed, link.store, &common.freshness).await?;
            }
            Body::Gap => self.doubt_everything(),
            Body::Changes(changes) => self.tell(changes, &told(message, common)),
            Body::Heartbeat => {}
        }
        // Until everything that was missed meanwhile has been told, entries may be as old as the interruption was long. However
        // long the message was on its way, it tells of then.
        if let Some(as_of) = message.as_of {
            if !std::mem::replace(&mut subscription.caught_up, true) {
                // Also where the last connection broke before the next one could be had.
                self.adding.succeeded();
            }
            self.hearing.succeeded();
            match common.clock.earliest(as_of) {
                Some(as_of) => common.freshness.in_step(as_of),
                None => self.comparison_wanted.notify_one(),
            }
        }
        let registration =
            if subscription.caught_up { subscription.registration } else { self.progress().registration };
        self.progress.send_replace(Progress { epoch: message.epoch, position: message.position, registration });
        Ok(())
    }

    /// Stamps follow the server's hybrid clock.
    fn set_clock(&self, message: &Message, common: &Common) {
        let now = common.now();
        match common.clock.earliest(message.sent) {
            Some(made) => common.clock.hear(message.hlc, made),
            // It was made some time before, so at least so much it is now.
            None if message.hlc > common.clock.hlc(now) => common.clock.hear(message.hlc, now),
            None => {}
        }
    }

    /// Gives up a subscription on which everything comes too late: rather a gap than reads that all go to Postgres.
    fn check_pace(&self, subscription: &mut Subscription, common: &Common) -> Result<(), Error> {
        let now = common.now();
        // Of a client that is good for nothing any more nothing is served, however quick the feed is.
        let is_well = !subscription.caught_up || common.freshness.is_live(now) || common.check_alive().is_err();
        if is_well {
            subscription.behind_since = None;
            return Ok(());
        }
        let timeout = common.freshness.timeout();
        if now.since(*subscription.behind_since.get_or_insert(now)) < timeout {
            return Ok(());
        }
        self.is_to_skip.store(true, Ordering::Release);
        Err(Error::timeout("keeping up with the feed", timeout))
    }
}

/// When the message was made, at the earliest: as far as the clocks of both hosts are known.
fn told(message: &Message, common: &Common) -> ToldAt {
    ToldAt::new(message.hlc.0, || Some(common.now().since(common.clock.earliest(message.sent)?)))
}

/// The next message of the feed; `None` for what is not one. Silence for longer than the bound on staleness is an error.
async fn next(link: &mut Link<'_>) -> Result<Option<Message>, Error> {
    let timeout = link.common.freshness.timeout();
    tokio::time::timeout(timeout, link.feed.next()).await.map_err(|_| Error::timeout(LISTENING, timeout))?
}
