//! Loads from a hot standby.
//!
//! A standby shows the rows as they were some time ago, and the feed says nothing of what it has replayed. So a statement ahead of
//! the load asks how far it is, and the load counts only if that covers every change that the feed has told of, what loads from the
//! primary have shown of the same keys, and every batch of this client that is done. What the feed tells after that drops the
//! entry, as it does with any other. A standby that is behind, away, or of another database, server or timeline than the feed's, is
//! passed over: the primary is asked.

use crate::codec::row::LoadedColumns;
use crate::common::Common;
use crate::common::counters::Counter;
use crate::common::lock::lock;
use crate::common::time::Moment;
use crate::error::{Error, Step};
use crate::pg::{Ahead, Connections, Endpoint, History, Postgres, SERVER_STATE, ServerState, SessionCheck, load};
use crate::store::{LoadState, LoadStatement, Loading, Taking, within};
use cache_sync_core::number::{Epoch, Lsn, Sequence};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long a standby may take, which the primary could have answered meanwhile.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long a standby that could not be asked is left alone, the first time; each time in a row twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const STEP: Step = "loading from the standby";

/// A hot standby that is asked for rows.
pub(crate) struct Standby {
    connections: Connections,
    /// Whose standby it is.
    primary: Arc<Postgres>,
    sessions: SessionCheck,
    connect_timeout: Duration,
    /// The feed's epoch, and the history of its server.
    history: Mutex<Option<(Epoch, History)>>,
    /// Whether each connection is known to be one of the server's.
    check: watch::Sender<Check>,
    runtime: Handle,
    /// Until when it is left alone, and for how long that was.
    paused: Mutex<Option<(Moment, Duration)>>,
    /// Loads that it answered.
    pub(crate) loads: Counter,
    /// Loads that were left to the primary.
    pub(crate) passed_over: Counter,
}

/// Whether it is known that each connection is one of the standby's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Not yet, or it could not be found out.
    Unknown,
    UnderWay,
    Done,
}

/// A load, and what must be in it.
pub(crate) struct Asked<'a> {
    pub(crate) statement: &'a LoadStatement,
    pub(crate) loading: &'a Loading<'a>,
    /// Up to where the log must have been replayed, whatever the feed has told.
    pub(crate) needed: Lsn,
}

/// What a load shows beside the rows, and whose it is.
pub(crate) struct Shown {
    /// Of the server whose changes must be heard for it to be kept.
    pub(crate) epoch: Epoch,
    /// The server's number of the last batch that is in it.
    pub(crate) last_seq: Sequence,
    /// Everything that was committed before is in it.
    pub(crate) as_of: Moment,
}

impl Standby {
    pub(crate) fn new(endpoint: &Endpoint<'_>, primary: Arc<Postgres>) -> Result<Standby, Error> {
        let pool = endpoint.pool(endpoint.config.pool_size)?;
        Ok(Standby {
            sessions: SessionCheck::new(&pool, endpoint)?,
            connections: Connections::new(pool, endpoint),
            primary,
            connect_timeout: endpoint.config.connect_timeout,
            history: Mutex::default(),
            check: watch::Sender::new(Check::Unknown),
            runtime: Handle::current(),
            paused: Mutex::default(),
            loads: Counter::default(),
            passed_over: Counter::default(),
        })
    }

    /// Loads rows, if the standby has replayed all that this client knows of; `false` when the primary must be asked, perhaps for what is
    /// left.
    pub(crate) async fn load(
        self: &Arc<Self>,
        common: &Arc<Common>,
        asked: &Asked<'_>,
        has_own_batches: impl Fn(&LoadState) -> bool + Sync,
        each: impl FnMut(&Shown, &LoadedColumns<'_>) + Send,
    ) -> bool {
        let loaded = match self.is_paused(common.now()) {
            true => None,
            false => self.ask(common, asked, has_own_batches, each).await,
        };
        let counter = if loaded.is_some() { &self.loads } else { &self.passed_over };
        counter.add(1);
        loaded.is_some()
    }

    async fn ask(
        self: &Arc<Self>,
        common: &Arc<Common>,
        asked: &Asked<'_>,
        has_own_batches: impl Fn(&LoadState) -> bool + Sync,
        each: impl FnMut(&Shown, &LoadedColumns<'_>) + Send,
    ) -> Option<Shown> {
        let freshness = &common.freshness;
        // Before that of the log: what was told by then is in it.
        let as_of = freshness.in_step_at();
        let epoch = Epoch(freshness.epoch());
        // What the primary has to say to it, the load from there will tell.
        let history = self.history_of(epoch).await.ok().flatten()?;
        // What the feed tells from here on forbids storing what the load brings.
        let needed = freshness.lsn()?.max(asked.needed);
        let answer = Mutex::new(None);
        let begin = |state: LoadState| {
            let server = ServerState::of(lock(&answer).as_ref()?).ok()?;
            let counts = server.in_recovery && server.history == history && server.lsn >= needed;
            // The epoch that a standby knows is that of its own memory, in which nobody publishes.
            (counts && has_own_batches(&state)).then_some(Shown { epoch, last_seq: state.last_seq, as_of })
        };
        let answer_max = self.connect_timeout.min(ANSWER_MAX);
        if !tokio::time::timeout(answer_max, self.is_checked(common)).await.unwrap_or(false) {
            return None;
        }
        let mut taking = Taking::new(begin, each);
        let ahead = Ahead { text: SERVER_STATE, answer: &answer };
        let loading = load(&self.connections, asked.statement, asked.loading, Some(ahead), &mut taking);
        match within(STEP, answer_max, loading).await {
            Ok(_) => {
                self.is_back();
                taking.begun
            }
            Err(error) => {
                // A key's or a table's own trouble says nothing of the standby.
                if error.is_silence() || error.sqlstate().is_none() {
                    self.pause(&error, common.now());
                }
                None
            }
        }
    }

    /// Waits until it is known whether each connection is one of the standby's. Nobody who gives up waiting keeps that from being found out,
    /// which takes many round trips.
    async fn is_checked(self: &Arc<Self>, common: &Arc<Common>) -> bool {
        let begins = |check: &mut Check| {
            let begins = *check == Check::Unknown;
            *check = if begins { Check::UnderWay } else { *check };
            begins
        };
        let mut check = self.check.subscribe();
        if self.check.send_if_modified(begins) {
            let (standby, common) = (self.clone(), common.clone());
            self.runtime.spawn(async move {
                let checked = standby.sessions.run(standby.connect_timeout).await;
                checked.as_ref().err().into_iter().for_each(|error| standby.pause(error, common.now()));
                standby.check.send_replace(if checked.is_ok() { Check::Done } else { Check::Unknown });
            });
        }
        let known = check.wait_for(|check| *check != Check::UnderWay).await;
        known.is_ok_and(|check| *check == Check::Done)
    }

    fn is_paused(&self, now: Moment) -> bool {
        lock(&self.paused).is_some_and(|(until, _)| now < until)
    }

    fn pause(&self, error: &Error, now: Moment) {
        let mut paused = lock(&self.paused);
        let pause = paused.map_or(PAUSE_MIN, |(_, pause)| (2 * pause).min(PAUSE_MAX));
        if paused.is_none() {
            tracing::warn!(error = %error.logged(), "the standby cannot be asked; rows are loaded from the primary");
        }
        *paused = Some((now + pause, pause));
    }

    fn is_back(&self) {
        if lock(&self.paused).take().is_some() {
            tracing::info!("the standby answers again");
        }
    }

    /// The history of the feed's server, which the primary's pool is asked for after each change of the epoch.
    async fn history_of(&self, epoch: Epoch) -> Result<Option<History>, Error> {
        if let Some((of, history)) = *lock(&self.history)
            && of == epoch
        {
            return Ok(Some(history));
        }
        let state = self.primary.server_state().await?;
        if state.epoch != epoch || state.in_recovery {
            return Ok(None);
        }
        *lock(&self.history) = Some((epoch, state.history));
        Ok(Some(state.history))
    }

    pub(crate) fn close(&self) {
        self.connections.close();
    }
}
