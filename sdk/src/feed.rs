//! Hears what was committed, and tells the tables.
//!
//! One task, one connection. The subscription resumes where the last one stopped; where it cannot (the ring was overrun,
//! Postgres was restarted), every table's generation rises: nothing that is held is served before it has been loaded
//! again. Silence needs no event: reads compare the time of the last message with the clock themselves.

use crate::error::{Error, Kind, Step};
use crate::freshness::Freshness;
use crate::lock::lock;
use crate::store::{FEED_OPTIONS, Messages, Store, stream_statement};
use cache_sync_core::number::{Epoch, Position, TableId};
use cache_sync_core::wire::{Body, CHANNEL, Change, Message};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_postgres::AsyncMessage;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const LISTENING: Step = "listening to the feed";
/// The SQLSTATE for a table that is not attached.
const NOT_ATTACHED: &str = "CS005";

/// Who is told of changes.
pub(crate) trait Subscriber: Send + Sync {
    fn change(&self, change: &Change);
    /// Nothing that is held may be trusted unseen.
    fn raise_generation(&self);
    /// Whether this is still the table that was opened, with the same hash key. One that is not retires.
    fn check_again<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<bool, Error>>;
}

/// What of a table a subscriber is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// A cache of its rows.
    Rows,
    /// The queries that depend on it.
    Queries,
}

/// How far the feed has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
    /// The last registration of a table that the subscription serves.
    pub(crate) registration: u64,
}

pub(crate) struct Feed {
    subscribers: Mutex<HashMap<(TableId, Part), Arc<dyn Subscriber>>>,
    registration: AtomicU64,
    resubscribe: Notify,
    progress: watch::Sender<Progress>,
    pub(crate) gaps: AtomicU64,
    pub(crate) connects: AtomicU64,
    #[cfg(feature = "test-faults")]
    pub(crate) muted: std::sync::atomic::AtomicBool,
}

/// One subscription, from its CALL to its end.
struct Subscription {
    registration: u64,
    caught_up: bool,
}

impl Feed {
    pub(crate) fn new() -> Feed {
        Feed {
            subscribers: Mutex::default(),
            registration: AtomicU64::new(0),
            resubscribe: Notify::new(),
            progress: watch::Sender::default(),
            gaps: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            #[cfg(feature = "test-faults")]
            muted: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Subscribes a table; its memory may be filled once [`Feed::served`] has come back for the number returned.
    pub(crate) fn register(&self, table: TableId, part: Part, subscriber: Arc<dyn Subscriber>) -> u64 {
        lock(&self.subscribers).insert((table, part), subscriber);
        let registration = self.registration.fetch_add(1, Ordering::AcqRel) + 1;
        self.resubscribe.notify_one();
        registration
    }

    pub(crate) fn unregister(&self, table: TableId, part: Part) {
        lock(&self.subscribers).remove(&(table, part));
    }

    /// Whether nobody wants to hear anything, so that the feed does not even connect.
    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.subscribers).is_empty()
    }

    pub(crate) async fn served(&self, registration: u64) {
        let mut progress = self.progress.subscribe();
        drop(progress.wait_for(|progress| progress.registration >= registration).await);
    }

    /// Waits until everything up to this position has been processed.
    pub(crate) async fn reached(&self, epoch: Epoch, position: Position) {
        let mut progress = self.progress.subscribe();
        let reached = |progress: &Progress| progress.epoch == epoch && progress.position >= position;
        drop(progress.wait_for(reached).await);
    }

    pub(crate) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Listens until its task is ended.
    pub(crate) async fn run(&self, store: &Store, common: &crate::common::Common) {
        let mut pause = PAUSE_MIN;
        loop {
            while self.is_idle() {
                self.resubscribe.notified().await;
            }
            let before = self.progress();
            let Err(error) = self.listen(store, common).await else { continue };
            tracing::warn!(%error, "the feed was lost; connecting again");
            // A table that is not attached any more would keep all others from being heard.
            if error.sqlstate() == Some(NOT_ATTACHED)
                && let Err(error) = self.check_tables(store).await
            {
                tracing::warn!(%error, "the tables could not be checked");
            }
            if self.progress() != before {
                pause = PAUSE_MIN;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One subscription. Ends with an error, or without one when tables were added and it must be made anew.
    async fn listen(&self, store: &Store, common: &crate::common::Common) -> Result<(), Error> {
        let registration = self.registration.load(Ordering::Acquire);
        let mut tables: Vec<i32> = lock(&self.subscribers).keys().map(|(table, _)| table.0).collect();
        tables.sort_unstable();
        tables.dedup();
        let progress = self.progress();
        let since = (progress.epoch != Epoch(0)).then_some((progress.epoch, progress.position));
        let (client, mut messages) = store.connect("feed", FEED_OPTIONS).await?;
        self.connects.fetch_add(1, Ordering::Relaxed);
        let statement = stream_statement(&tables, since);
        let call = client.batch_execute(&statement);
        tokio::pin!(call);
        let mut subscription = Subscription { registration, caught_up: false };
        loop {
            tokio::select! {
                biased;
                message = next(&mut messages, common.freshness.timeout()) => {
                    if let Some(message) = message? {
                        self.take(&message, &mut subscription, store, common).await?;
                    }
                }
                ended = &mut call => {
                    ended.map_err(|error| Error::query(LISTENING, error))?;
                    return Err(Error::new(Kind::Unavailable, "the server ended the feed"));
                }
                () = self.resubscribe.notified() => {
                    if self.registration.load(Ordering::Acquire) != registration {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn take(
        &self,
        message: &Message,
        subscription: &mut Subscription,
        store: &Store,
        common: &crate::common::Common,
    ) -> Result<(), Error> {
        if subscription.caught_up && !common.freshness.is_live() {
            // This process was stopped, or too busy to listen: what it finds now was sent then, and says nothing of now.
            return Err(Error::timeout(LISTENING, common.freshness.timeout()));
        }
        lock(&common.clock).hear(message.hlc, common.monotonic_micros());
        match &message.body {
            Body::Start { resumed } => {
                self.begin(message.epoch, *resumed, store, &common.freshness).await?;
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

    async fn begin(&self, epoch: Epoch, resumed: bool, store: &Store, freshness: &Freshness) -> Result<(), Error> {
        let before = freshness.epoch();
        if before != epoch.0 && before != 0 {
            self.check_tables(store).await?;
        }
        if !resumed || before != epoch.0 {
            self.doubt_everything();
        }
        freshness.set_epoch(epoch.0);
        Ok(())
    }

    /// Lets go of tables that are no longer those that were opened.
    async fn check_tables(&self, store: &Store) -> Result<(), Error> {
        let subscribers: Vec<_> = lock(&self.subscribers).iter().map(|(table, of)| (*table, of.clone())).collect();
        for ((table, part), subscriber) in subscribers {
            if !subscriber.check_again(store).await? {
                self.unregister(table, part);
            }
        }
        Ok(())
    }

    fn doubt_everything(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
        lock(&self.subscribers).values().for_each(|subscriber| subscriber.raise_generation());
    }

    fn tell(&self, changes: &[Change]) {
        #[cfg(feature = "test-faults")]
        if self.muted.load(Ordering::Acquire) {
            return;
        }
        let subscribers = lock(&self.subscribers);
        for change in changes {
            for part in [Part::Rows, Part::Queries] {
                if let Some(subscriber) = subscribers.get(&(change.table, part)) {
                    subscriber.change(change);
                }
            }
        }
    }
}

/// The next message of the feed; `None` for what is not one. Silence for longer than `timeout` is an error.
async fn next(messages: &mut Messages, timeout: Duration) -> Result<Option<Message>, Error> {
    let message =
        tokio::time::timeout(timeout, messages.next()).await.map_err(|_| Error::timeout(LISTENING, timeout))?;
    match message {
        Some(Ok(AsyncMessage::Notification(notification))) if notification.channel() == CHANNEL => {
            let message = Message::decode(notification.payload());
            message.map(Some).map_err(|error| Error::caused(Kind::Mismatch, "the feed cannot be understood", error))
        }
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(Error::query(LISTENING, error)),
        None => Err(Error::new(Kind::Unavailable, "the feed's connection was closed")),
    }
}
