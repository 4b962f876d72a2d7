//! Brings the buffer to Postgres: freezes a batch, sends it until its outcome is known, settles it.
//!
//! What can happen to a batch, and what then:
//!
//! - *It is answered*: each patch gets its outcome.
//! - *The connection breaks, or Postgres is busy or away*: it is sent again, in the same bytes under the same number,
//!   after a pause that grows to a few seconds. Postgres answers a batch that it has already applied with what it said
//!   the first time.
//! - *Its session is unknown or lost*: had it never been sent, it moves to a new session; else nobody can say whether it
//!   was applied, and each of its outcomes is unknown.
//! - *The server has lost earlier batches* (failover, restore): what was lost is reported, the batch gets the number
//!   that the server expects.
//! - *The table cannot be written at all* (privileges, a dropped column): it waits, loudly, and tries again.

use crate::batch::Batch;
use crate::error::{Error, is_outage};
use crate::key::Key;
use crate::store::{self, Messages, Store};
use crate::table::Table;
use cache_sync_core::number::{Fence, Sequence};
use cache_sync_core::outcome::{self, Record, Verdict};
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use uuid::Uuid;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// How often a batch that Postgres refuses as a whole is tried before its patches are given up as rejected.
const REFUSALS_MAX: u32 = 3;

/// The connection that all flushers of a client share.
pub(crate) struct FlushConnection {
    store: Arc<Store>,
    current: tokio::sync::Mutex<Option<Arc<Connected>>>,
}

struct Connected {
    client: tokio_postgres::Client,
    apply: tokio_postgres::Statement,
    driver: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some(driver) = crate::lock::lock(&self.driver).take() {
            driver.abort();
        }
    }
}

impl FlushConnection {
    pub(crate) fn new(store: Arc<Store>) -> FlushConnection {
        FlushConnection { store, current: tokio::sync::Mutex::new(None) }
    }

    async fn get(&self) -> Result<Arc<Connected>, Error> {
        let mut current = self.current.lock().await;
        if let Some(connected) = current.as_ref().filter(|connected| !connected.client.is_closed()) {
            return Ok(connected.clone());
        }
        let (client, messages) = self.store.connect("flusher", store::SESSION).await?;
        let driver = tokio::spawn(drive(messages));
        let driver = Mutex::new(Some(driver));
        let apply = client.prepare(store::APPLY).await.map_err(|error| Error::query("preparing to write", error))?;
        let connected = Arc::new(Connected { client, apply, driver });
        *current = Some(connected.clone());
        Ok(connected)
    }

    /// Gives the connection up: nothing comes back on it.
    async fn forget(&self) {
        *self.current.lock().await = None;
    }
}

async fn drive(mut messages: Messages) {
    while let Some(Ok(_)) = messages.next().await {}
}

pub(crate) struct Flusher<K, V> {
    pub(crate) table: Arc<Table<K, V>>,
    pub(crate) connection: Arc<FlushConnection>,
    pub(crate) oid: u32,
    pub(crate) flush_interval: Duration,
    pub(crate) apply_timeout: Duration,
}

enum Step {
    Settled,
    Again(Duration),
}

impl<K, V> Flusher<K, V>
where
    K: Key,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Flushes until its task is ended.
    pub(crate) async fn run(self) {
        let mut fence = None;
        for number in 1.. {
            while !self.table.has_dirty() {
                self.table.flush.notified().await;
            }
            self.gather().await;
            let frozen = self.table.freeze(Sequence(number), self.table.common.batch_entries_max);
            let batch = Batch::new(Sequence(number), &frozen, &self.table.meta, &self.table.layout);
            drop(frozen);
            self.write(&mut fence, &batch).await;
        }
    }

    /// Lets writes come together for a moment, unless somebody waits for them or the batch is full.
    async fn gather(&self) {
        let deadline = tokio::time::Instant::now() + self.flush_interval;
        while !self.table.is_flush_requested() && self.table.dirty_len() < self.table.common.batch_entries_max {
            if tokio::time::timeout_at(deadline, self.table.flush.notified()).await.is_err() {
                break;
            }
        }
    }

    async fn write(&self, fence: &mut Option<Fence>, batch: &Batch) {
        if batch.keys.is_empty() {
            return self.table.leave_out(batch.sequence);
        }
        let (mut sent, mut pause, mut refusals) = (false, PAUSE_MIN, 0);
        loop {
            let step = match self.send(fence, batch, &mut sent).await {
                Ok((records, same_server)) => self.settle(batch, Some(&records), same_server),
                Err(error) => self.after_error(fence, batch, &error, sent, &mut refusals),
            };
            let Step::Again(at_least) = step else { break };
            self.table.counters.flush_retries.add(1);
            tokio::time::sleep(jittered(pause.max(at_least))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn send(
        &self,
        fence: &mut Option<Fence>,
        batch: &Batch,
        sent: &mut bool,
    ) -> Result<(Vec<Record>, bool), Error> {
        let session = self.table.session();
        let work = async {
            let connected = self.connection.get().await?;
            let fence = match *fence {
                Some(fence) => fence,
                None => {
                    let (opened, _) = store::open_session(&connected.client, self.oid, session.id).await?;
                    *fence.insert(opened)
                }
            };
            let before = std::mem::replace(sent, true);
            let payload = (batch.shapes.as_str(), batch.rows.as_slice());
            let sequence = session.to_server(batch.sequence);
            let (client, apply) = (&connected.client, &connected.apply);
            let applied = store::apply(client, apply, self.oid, session.id, fence, sequence, payload).await;
            // What Postgres refuses it has not committed; where it goes away with an error, it may have.
            let code = applied.as_ref().err().and_then(Error::sqlstate);
            if code.is_some_and(|code| !is_outage(code)) {
                *sent = before;
            }
            applied
        };
        let Ok(applied) = tokio::time::timeout(self.apply_timeout, work).await else {
            self.connection.forget().await;
            return Err(Error::timeout("writing a batch", self.apply_timeout));
        };
        let applied = applied?;
        let same_server = applied.epoch.0 == self.table.common.freshness.epoch();
        let records = outcome::unpack(&applied.outcomes).map_err(|error| {
            Error::caused(crate::error::Kind::Mismatch, "the extension answers a batch in a way unknown here", error)
        })?;
        Ok((records, same_server))
    }

    fn settle(&self, batch: &Batch, records: Option<&[Record]>, same_server: bool) -> Step {
        self.table.counters.batches.add(1);
        self.table.counters.patches.add(batch.keys.len() as u64);
        for (place, hash) in batch.keys.iter().enumerate() {
            let record = records.and_then(|records| records.get(place));
            self.table.settle(*hash, batch.sequence, record, same_server);
        }
        Step::Settled
    }

    fn after_error(
        &self,
        fence: &mut Option<Fence>,
        batch: &Batch,
        error: &Error,
        sent: bool,
        refusals: &mut u32,
    ) -> Step {
        let table = &self.table.meta.name;
        match error.sqlstate() {
            // The session is this client's alone: it can only have been opened by an earlier try of its own that came
            // late. Number and digest see to it that the batch is applied once.
            Some("CS002") => {
                *fence = None;
                Step::Again(Duration::ZERO)
            }
            Some("CS001" | "CS004") => {
                tracing::error!(table, %error, sent, "the session is lost; going on with a new one");
                self.leave_session(fence, batch, sent)
            }
            Some("CS003") => self.follow_server(fence, batch, error),
            Some(code) if is_outage(code) => Step::Again(Duration::ZERO),
            Some(code) if is_refusal(code) && *refusals + 1 >= REFUSALS_MAX => {
                tracing::error!(table, %error, patches = batch.keys.len(), "Postgres refuses the batch as a whole");
                let records = vec![rejected(code); batch.keys.len()];
                let step = self.settle(batch, Some(&records), true);
                self.table.leave_out(batch.sequence);
                step
            }
            Some(_) => {
                *refusals += 1;
                tracing::error!(table, %error, "the table cannot be written; its patches wait");
                Step::Again(Duration::from_millis(500))
            }
            None => {
                tracing::warn!(table, %error, "a batch could not be written yet; it will be sent again");
                Step::Again(Duration::ZERO)
            }
        }
    }

    /// A batch that was never sent moves to the new session; of one that was, nobody can say any more what became.
    fn leave_session(&self, fence: &mut Option<Fence>, batch: &Batch, sent: bool) -> Step {
        *fence = None;
        if sent {
            self.table.new_session(Sequence(batch.sequence.0 + 1));
            self.settle(batch, None, false)
        } else {
            self.table.new_session(batch.sequence);
            Step::Again(Duration::ZERO)
        }
    }

    /// The server stands elsewhere in the session: it was restored from a backup, or failed over to a standby that was
    /// behind.
    fn follow_server(&self, fence: &mut Option<Fence>, batch: &Batch, error: &Error) -> Step {
        let detail = error.db_error().and_then(|db| db.detail()).unwrap_or_default();
        let last: Option<i64> = detail.split("last_seq=").nth(1).and_then(|rest| rest.trim().parse().ok());
        let expected = self.table.session().to_server(batch.sequence);
        let table = &self.table.meta.name;
        match last {
            Some(last) if last < expected.0 => {
                let lost = expected.0 - 1 - last;
                tracing::error!(table, lost, "the server has lost batches that it had confirmed");
                self.table.renumber(batch.sequence, Sequence(last + 1));
                Step::Again(Duration::ZERO)
            }
            last => {
                tracing::error!(table, ?last, "the server is ahead of this session; the outcome is unknown");
                self.leave_session(fence, batch, true)
            }
        }
    }
}

/// Data exceptions, constraints, limits, and errors that functions raise: what a patch, not the table, is to blame for. The
/// same classes as the extension's, for what it could not isolate: a key that comes twice as Postgres reads it, say.
fn is_refusal(sqlstate: &str) -> bool {
    ["20", "21", "22", "23", "27", "44", "54", "P0"].iter().any(|class| sqlstate.starts_with(class))
}

fn rejected(sqlstate: &str) -> Record {
    let sqlstate = sqlstate.as_bytes().try_into().ok();
    Record { sqlstate, ..Record::of(Verdict::Rejected) }
}

/// Between half and the whole of the pause, so that many clients do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let random = Uuid::new_v4().as_u64_pair().0 % 1000;
    pause.mul_f64(0.5 + random as f64 / 2000.0)
}
