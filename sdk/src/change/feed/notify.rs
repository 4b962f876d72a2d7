//! The feed of a server before PostgreSQL 17 that has not preloaded the extension's library: writers NOTIFY.
//!
//! Nothing says by itself that the connection still hears, so the feed *probes*: it asks a small question, whose answer comes
//! behind the notifications of everything that was committed before it was asked, because Postgres hands those over before
//! it is ready for the next question. A connection that is new has missed something.

use super::link::{LISTENING, Link};
use super::{Feed, Progress};
use crate::common::Common;
use crate::error::Error;
use crate::meter::ToldAt;
use crate::status::FeedKind;
use crate::store::within;
use cache_sync_core::number::Position;
use cache_sync_core::wire::{Body, Change, Message, WireError};
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The time between two probes, unless the bound on staleness asks for more of them.
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Probes within the bound on staleness.
const PER_TIMEOUT: u32 = 3;

impl Feed {
    /// Waits until a probe that begins from here on has been answered. `false` when this is not how the feed is heard.
    pub(crate) async fn probed(&self) -> bool {
        let (mut answered, mut kind) = (self.probes.answered.subscribe(), self.kind.subscribe());
        let begun = self.probes.begun();
        self.probes.wanted.notify_one();
        tokio::select! {
            answered = answered.wait_for(|number| *number > begun) => answered.is_ok(),
            _ = kind.wait_for(|kind| *kind != Some(FeedKind::Notify) || self.is_idle() || self.has_ended()) => false,
        }
    }

    /// Listens until the connection fails.
    pub(super) async fn listen_to_notify(&self, link: &mut Link<'_>) -> Result<(), Error> {
        let interval = INTERVAL_MAX.min(link.common.freshness.timeout() / PER_TIMEOUT);
        let listening = link.feed.listen();
        self.hearing(link, listening).await?;
        let mut is_new = true;
        loop {
            self.probe(is_new, link).await?;
            is_new = false;
            let next = tokio::time::sleep(interval);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    biased;
                    heard = self.hear_next(link) => heard?,
                    () = &mut next => break,
                    () = self.probes.wanted.notified() => break,
                    // The next probe names the tables that were added.
                    () = self.resubscribe.notified() => break,
                }
            }
        }
    }

    /// Asks whether all is well.
    async fn probe(&self, is_new: bool, link: &mut Link<'_>) -> Result<(), Error> {
        let registration = self.registration.load(Ordering::Acquire);
        let tables = self.tables();
        let number = self.probes.begin();
        let asked = link.common.now();
        let answer = link.feed.probe(tables);
        let (epoch, hlc) = self.hearing(link, answer).await?;
        let common = link.common;
        common.clock.hear(hlc, common.now());
        if is_new || common.freshness.epoch() != epoch.0 {
            self.is_of(FeedKind::Notify);
            link.begins(FeedKind::Notify, epoch);
            common.freshness.set_lsn(None);
            self.begin(epoch, false, link.store, &common.freshness).await?;
        }
        // Of what was committed since it was asked, nobody has said that it was heard.
        common.freshness.in_step(asked);
        self.hearing.succeeded();
        self.progress.send_replace(Progress { epoch, position: Position(0), registration });
        self.probes.answered.send_replace(number);
        Ok(())
    }

    /// Waits for an answer, and hears what comes ahead of it.
    async fn hearing<T>(
        &self,
        link: &mut Link<'_>,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::pin!(answer);
        within(LISTENING, link.common.freshness.timeout(), async {
            loop {
                tokio::select! {
                    biased;
                    heard = self.hear_next(link) => heard?,
                    answer = &mut answer => return answer,
                }
            }
        })
        .await
    }

    /// Hears what was notified next, if that is of the feed.
    async fn hear_next(&self, link: &mut Link<'_>) -> Result<(), Error> {
        if let Some(message) = link.feed.notified().await? {
            self.hear(message, link.common);
        }
        Ok(())
    }

    /// Anybody may send notifications, so what they say is believed only so far as to load something again.
    fn hear(&self, message: Result<Message, WireError>, common: &Common) {
        match message {
            Ok(Message { epoch, body: Body::Changes(changes), .. }) if epoch.0 == common.freshness.epoch() => {
                self.tell(&changes.into_iter().map(Change::unversioned).collect::<Vec<_>>(), &ToldAt::unknown());
            }
            // Another server's, another extension's, or of a writer with another version of the library.
            Ok(_) | Err(WireError::Protocol(_)) => self.doubt_everything(),
            Err(error @ WireError::Malformed) => tracing::debug!(%error, "a notification was not understood"),
        }
    }
}
