//! Hears what was committed, and tells the tables.
//!
//! One task, one connection. The subscription resumes where the last one stopped; where it cannot (the ring was overrun,
//! Postgres was restarted), every table's generation rises: nothing that is held is served before it has been loaded
//! again. Silence needs no event: reads compare the time as of which
//! everything has been told with the clock themselves. Each message says that time, so one that is late is not taken for news.
//!
//! ```text
//! stream      the feed of a server that has it in shared memory     notify  what others tell, and `probes` of that
//! subscriber  who is told                                           link    what comes over one connection
//! compare     what the server's clock says of ours                  check   `doubtful` tables
//! ```

mod check;
mod compare;
mod doubtful;
mod link;
mod notify;
mod probes;
mod stream;
mod subscriber;

pub(crate) use subscriber::{Part, Subscriber};

use crate::common::Common;
use crate::common::freshness::FeedFreshness;
use crate::common::jittered;
use crate::common::lock::lock;
use crate::common::trouble::{Retried, Trouble};
use crate::error::{Error, Step};
use crate::meter::ToldAt;
use crate::status::FeedKind;
use crate::store::{FeedLink, Store, within};
use cache_sync_core::number::{Epoch, Position, TableId};
use cache_sync_core::sqlstate::{Fault, NOT_PRELOADED};
use cache_sync_core::wire::Change;
use doubtful::Doubtful;
use link::Link;
use probes::Probes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tracing::{Instrument, field, info_span};

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const SUBSCRIBING: Step = "subscribing to the table's changes";

/// How far the feed has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
    /// The last registration of a table that the subscription serves.
    pub(crate) registration: u64,
}

/// Those of one table: few.
type Subscribers = Vec<(Part, Arc<dyn Subscriber>)>;

pub(crate) struct Feed {
    subscribers: Mutex<HashMap<TableId, Subscribers>>,
    registration: AtomicU64,
    resubscribe: Notify,
    progress: watch::Sender<Progress>,
    probes: Probes,
    doubtful: Doubtful,
    /// Nothing is known of the clock of the server's host any more.
    comparison_wanted: Notify,
    /// The next subscription begins where the feed is then: telling all that was missed would take too long.
    is_to_skip: AtomicBool,
    kind: watch::Sender<Option<FeedKind>>,
    hearing: Retried,
    /// The next connection, which serves tables that were added: the last one goes on meanwhile.
    adding: Retried,
    /// The client is closed: whoever waits for the feed waits in vain.
    ended: AtomicBool,
    pub(crate) gaps: AtomicU64,
    pub(crate) connects: AtomicU64,
    #[cfg(feature = "test-faults")]
    pub(crate) muted: std::sync::atomic::AtomicBool,
}

impl Feed {
    pub(crate) fn new() -> Feed {
        Feed {
            subscribers: Mutex::default(),
            registration: AtomicU64::new(0),
            resubscribe: Notify::new(),
            progress: watch::Sender::default(),
            probes: Probes::default(),
            doubtful: Doubtful::default(),
            comparison_wanted: Notify::new(),
            is_to_skip: AtomicBool::new(false),
            kind: watch::Sender::default(),
            hearing: Retried::new("hearing the feed", None),
            adding: Retried::new("subscribing to more tables", None),
            ended: AtomicBool::new(false),
            gaps: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            #[cfg(feature = "test-faults")]
            muted: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Subscribes a table; its memory may be filled once [`Feed::served`] has come back for the number returned.
    pub(crate) fn register(&self, table: TableId, part: Part, subscriber: Arc<dyn Subscriber>) -> u64 {
        {
            let mut subscribers = lock(&self.subscribers);
            let of_table = subscribers.entry(table).or_default();
            of_table.retain(|(of, _)| *of != part);
            of_table.push((part, subscriber));
        }
        let registration = self.registration.fetch_add(1, Ordering::AcqRel) + 1;
        self.resubscribe.notify_one();
        registration
    }

    /// Takes a subscriber back, unless another one has taken its place.
    pub(crate) fn unregister(&self, table: TableId, part: Part, subscriber: &dyn Subscriber) {
        self.keep(|of, other| of != (table, part) || !std::ptr::addr_eq(Arc::as_ptr(other), subscriber));
    }

    /// Lets go of all other subscribers.
    fn keep(&self, is_kept: impl Fn((TableId, Part), &Arc<dyn Subscriber>) -> bool) {
        lock(&self.subscribers).retain(|table, of_table| {
            of_table.retain(|(part, subscriber)| is_kept((*table, *part), subscriber));
            !of_table.is_empty()
        });
        if self.is_idle() {
            // Whoever waits for the feed to come to some position looks again: there is nobody left who would have to hear of anything.
            self.progress.send_modify(|_| ());
            self.kind.send_modify(|_| ());
        }
    }

    /// Whether nobody wants to hear anything, so that the feed does not even connect.
    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.subscribers).is_empty()
    }

    async fn served(&self, registration: u64) {
        let mut progress = self.progress.subscribe();
        drop(progress.wait_for(|progress| progress.registration >= registration || self.has_ended()).await);
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Nothing is heard any more: whoever waits for it goes on, to hear that the client is closed.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.progress.send_modify(|_| ());
        self.kind.send_modify(|_| ());
    }

    /// Waits until the subscription serves what was registered under this number.
    ///
    /// # Errors
    /// The feed cannot connect, and why; or it does not answer.
    pub(crate) async fn subscribed(&self, registration: u64, store: &Store) -> Result<(), Error> {
        let served = self.served(registration);
        tokio::pin!(served);
        if tokio::time::timeout(store.connect_timeout, &mut served).await.is_ok() {
            return self.check_ended();
        }
        if let Some(failing) = self.adding.failing().or_else(|| self.hearing.failing()) {
            return Err(failing.error().during(SUBSCRIBING));
        }
        within(SUBSCRIBING, store.query_timeout.saturating_sub(store.connect_timeout), async {
            served.await;
            self.check_ended()
        })
        .await
    }

    fn check_ended(&self) -> Result<(), Error> {
        if self.has_ended() { Err(Error::closed()) } else { Ok(()) }
    }

    /// Why the feed is not heard at present.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.hearing.trouble().or_else(|| self.adding.trouble())
    }

    /// Waits until everything up to this position has been processed. `false` when the feed has gone on to another epoch
    /// meanwhile, in which that position means nothing, or nobody wants to hear anything any more.
    pub(crate) async fn reached(&self, epoch: Epoch, position: Position) -> bool {
        let mut progress = self.progress.subscribe();
        let before = progress.borrow_and_update().epoch;
        let is_over = |progress: &Progress| progress.epoch != epoch && progress.epoch != before;
        let is_there = |progress: &Progress| progress.epoch == epoch && progress.position >= position;
        let ended = progress
            .wait_for(|progress| is_there(progress) || is_over(progress) || self.is_idle() || self.has_ended())
            .await;
        ended.is_ok_and(|progress| is_there(&progress))
    }

    pub(crate) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// How the feed is heard, or was last.
    pub(crate) fn kind(&self) -> Option<FeedKind> {
        *self.kind.borrow()
    }

    /// Waits until the feed is heard by NOTIFY, or nobody wants to hear anything any more.
    pub(crate) async fn is_heard_by_notify(&self) {
        let is_so = |kind: &Option<FeedKind>| *kind == Some(FeedKind::Notify) || self.is_idle() || self.has_ended();
        drop(self.kind.subscribe().wait_for(is_so).await);
    }

    /// Notes how the feed is heard.
    fn is_of(&self, kind: FeedKind) {
        let before = self.kind.send_replace(Some(kind));
        if kind == FeedKind::Notify && before != Some(kind) {
            tracing::warn!(
                "the server has not preloaded cache_sync: changes are heard by NOTIFY, which slows writers down"
            );
        }
    }

    /// Listens until its task is ended.
    pub(crate) async fn run(&self, store: &Store, common: &Common) {
        tokio::join!(self.follow(store, common), self.compare_clocks(store, common), self.check_doubtful(store));
    }

    async fn follow(&self, store: &Store, common: &Common) {
        let mut pause = PAUSE_MIN;
        loop {
            while self.is_idle() {
                self.resubscribe.notified().await;
            }
            let before = (self.progress(), self.probes.last());
            let Err(error) = self.listen(store, common).await else { continue };
            self.hearing.failed(&error);
            // A table that is not attached any more, or may no longer be read, would keep all others from being heard.
            if error.fault() == Some(Fault::Table)
                && let Err(error) = self.check_tables(store).await
            {
                tracing::warn!(error = %error.logged(), "the tables could not be checked");
            }
            if (self.progress(), self.probes.last()) != before {
                pause = PAUSE_MIN;
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One connection after another, without a break: each time that tables were added, the next one takes over once it is there.
    async fn listen(&self, store: &Store, common: &Common) -> Result<(), Error> {
        let mut feed = self.connect(store).await?;
        loop {
            // Of each connection: what it is, it hears when it begins.
            let span = info_span!("cache_sync.feed", kind = field::Empty, epoch = field::Empty);
            let mut link = Link { feed, store, common, span: span.clone() };
            feed = match self.stream(&mut link).instrument(span.clone()).await {
                Err(error) if error.sqlstate() == Some(NOT_PRELOADED) => {
                    return self.listen_to_notify(&mut link).instrument(span).await;
                }
                next => next?,
            };
        }
    }

    async fn connect(&self, store: &Store) -> Result<Box<dyn FeedLink>, Error> {
        let connected = store.feed().await?;
        self.connects.fetch_add(1, Ordering::Relaxed);
        Ok(connected)
    }

    /// The next connection. If it cannot be had, it is tried for as long as somebody wants other tables than these.
    async fn next_connection(&self, served: &[i32], store: &Store) -> Option<Box<dyn FeedLink>> {
        let mut pause = PAUSE_MIN;
        while self.tables() != served {
            match self.connect(store).await {
                Ok(connected) => {
                    self.adding.succeeded();
                    return Some(connected);
                }
                Err(error) => drop(self.adding.failed(&error)),
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        self.adding.succeeded();
        None
    }

    /// The tables that somebody wants to hear of, by number.
    fn tables(&self) -> Vec<i32> {
        let mut tables: Vec<i32> = lock(&self.subscribers).keys().map(|table| table.0).collect();
        tables.sort_unstable();
        tables
    }

    async fn begin(&self, epoch: Epoch, resumed: bool, store: &Store, freshness: &FeedFreshness) -> Result<(), Error> {
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

    /// Lets everybody see what has been told so far.
    pub(crate) fn end_holds(&self) {
        lock(&self.subscribers).values().flatten().for_each(|(_, subscriber)| subscriber.end_holds());
    }

    fn doubt_everything(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
        lock(&self.subscribers).values().flatten().for_each(|(_, subscriber)| subscriber.doubt_all());
    }

    /// Whether a test has made the feed deaf.
    fn is_muted(&self) -> bool {
        #[cfg(feature = "test-faults")]
        return self.muted.load(Ordering::Acquire);
        #[cfg(not(feature = "test-faults"))]
        false
    }

    fn tell(&self, changes: &[Change], told: &ToldAt) {
        if self.is_muted() {
            return;
        }
        self.doubtful.note(changes);
        let subscribers = lock(&self.subscribers);
        for change in changes {
            for (_, subscriber) in subscribers.get(&change.table).into_iter().flatten() {
                subscriber.tell(change, told);
            }
        }
    }
}
