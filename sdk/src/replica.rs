//! Loads from a hot standby.
//!
//! A standby shows the rows as they were some time ago, and the feed says nothing of what it has replayed. So a statement ahead of
//! the load asks how far it is, and the load counts only if that covers every change that the feed has told of, and every batch
//! of this client that is done. What the feed tells after that drops the entry, as it does with any other. A standby that is behind, away,
//! or of another server or timeline than the feed's, is passed over: the primary is asked.

use crate::config::ClientConfig;
use crate::counters::Counter;
use crate::error::Error;
use crate::freshness::Freshness;
use crate::key::Key;
use crate::lock::lock;
use crate::store::{Connector, LoadState, LoadStatement, Loading, Store, pool, within};
use cache_sync_core::number::Epoch;
use deadpool_postgres::Pool;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio_postgres::Row;

/// How long a standby that could not be asked is left alone.
const PAUSE: Duration = Duration::from_secs(1);
const STATE: &str = "SELECT in_recovery, system, timeline, lsn, epoch FROM cache_sync.server_state()";

/// Which history of which server the positions in the log are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct History {
    system: i64,
    timeline: i32,
}

/// Where a server is.
#[derive(Clone, Copy, Debug)]
struct State {
    in_recovery: bool,
    history: History,
    lsn: u64,
    epoch: u64,
}

impl State {
    fn of(row: &Row) -> Result<State, tokio_postgres::Error> {
        Ok(State {
            in_recovery: row.try_get(0)?,
            history: History { system: row.try_get(1)?, timeline: row.try_get(2)? },
            lsn: row.try_get::<_, i64>(3)?.cast_unsigned(),
            epoch: row.try_get::<_, i64>(4)?.cast_unsigned(),
        })
    }
}

/// A hot standby that is asked for rows.
pub(crate) struct Replica {
    pool: Pool,
    timeout: Duration,
    /// The feed's epoch, and the history of its server.
    history: Mutex<Option<(Epoch, History)>>,
    paused_until: Mutex<Option<Instant>>,
    /// Loads that it answered.
    pub(crate) loads: Counter,
    /// Loads that were left to the primary.
    pub(crate) passed_over: Counter,
}

impl Replica {
    pub(crate) fn new(
        config: &ClientConfig,
        postgres: &tokio_postgres::Config,
        connector: &Connector,
    ) -> Result<Replica, Error> {
        Ok(Replica {
            pool: pool(config, postgres, connector, "replica")?,
            timeout: config.connect_timeout,
            history: Mutex::default(),
            paused_until: Mutex::default(),
            loads: Counter::default(),
            passed_over: Counter::default(),
        })
    }

    /// Loads rows, if the standby has replayed all that this client knows of; `None` when the primary must be asked.
    pub(crate) async fn load<K: Key>(
        &self,
        store: &Store,
        freshness: &Freshness,
        statement: &LoadStatement,
        loading: &Loading<'_, K>,
        has_own_batches: impl Fn(&LoadState) -> bool,
    ) -> Option<(LoadState, Vec<Row>)> {
        let loaded = match self.is_paused() {
            true => None,
            false => {
                let loaded = within("loading from the standby", self.timeout, async {
                    self.try_load(store, freshness, statement, loading).await
                });
                loaded.await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "the standby could not be asked");
                    *lock(&self.paused_until) = Some(Instant::now() + PAUSE);
                    None
                })
            }
        };
        let loaded = loaded.filter(|(state, _)| has_own_batches(state));
        let counter = if loaded.is_some() { &self.loads } else { &self.passed_over };
        counter.add(1);
        loaded
    }

    fn is_paused(&self) -> bool {
        lock(&self.paused_until).is_some_and(|until| Instant::now() < until)
    }

    async fn try_load<K: Key>(
        &self,
        store: &Store,
        freshness: &Freshness,
        statement: &LoadStatement,
        loading: &Loading<'_, K>,
    ) -> Result<Option<(LoadState, Vec<Row>)>, Error> {
        let epoch = Epoch(freshness.epoch());
        let Some(history) = self.history_of(store, epoch).await? else { return Ok(None) };
        // What the feed tells from here on forbids storing what the load brings.
        let Some(needed) = freshness.lsn() else { return Ok(None) };
        let (state, load) = loading.run(&self.pool, statement, Some(STATE)).await?;
        let Some(state) =
            state.as_ref().map(State::of).transpose().map_err(|error| Error::query("asking the standby", error))?
        else {
            return Ok(None);
        };
        let is_there = state.in_recovery && state.history == history && state.lsn >= needed;
        // The epoch that a standby knows is that of its own memory, in which nobody publishes.
        Ok(is_there.then_some((LoadState { epoch, ..load.0 }, load.1)))
    }

    /// The history of the feed's server, which the primary's pool is asked for after each change of the epoch.
    async fn history_of(&self, store: &Store, epoch: Epoch) -> Result<Option<History>, Error> {
        if let Some((of, history)) = *lock(&self.history)
            && of == epoch
        {
            return Ok(Some(history));
        }
        let row = store.query_one("asking the primary's state", STATE).await?;
        let state = State::of(&row).map_err(|error| Error::query("asking the primary's state", error))?;
        if state.epoch != epoch.0 || state.in_recovery {
            return Ok(None);
        }
        *lock(&self.history) = Some((epoch, state.history));
        Ok(Some(state.history))
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}
