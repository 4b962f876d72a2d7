//! Batches, on a connection of their own.

use super::connection::{SESSION, drive};
use super::postgres::Postgres;
use crate::common::task::OwnedTask;
use crate::error::Error;
use crate::receipt::Refusal;
use crate::store::{Applied, BatchLink, Batches, OpenedSession, Sending};
use async_trait::async_trait;
use cache_sync_core::number::{Epoch, Fence, Sequence};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// How long a batch waits for a row that somebody holds, with those of other tables behind it.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(500);

/// The connection that all flushers of a client share.
pub(super) struct BatchConnection {
    postgres: Arc<Postgres>,
    current: tokio::sync::Mutex<Option<Arc<Connected>>>,
}

/// What is open of it.
struct Connected {
    client: tokio_postgres::Client,
    apply: tokio_postgres::Statement,
    apply_suspicious: tokio_postgres::Statement,
    /// Whether the server is another by now.
    doubts: watch::Receiver<u64>,
    /// Moves its bytes; ends with it, also where a server has let in and then says nothing.
    _driver: OwnedTask<()>,
}

impl BatchConnection {
    pub(super) fn new(postgres: Arc<Postgres>) -> BatchConnection {
        BatchConnection { postgres, current: tokio::sync::Mutex::new(None) }
    }
}

#[async_trait]
impl Batches for BatchConnection {
    async fn get(&self) -> Result<Arc<dyn BatchLink>, Error> {
        let by = |function: &str| {
            format!(
                "SELECT epoch, last_seq, outcomes FROM {function}($1::pg_catalog.oid::pg_catalog.regclass, \
                 $2, $3, $4, $5::pg_catalog.text::pg_catalog.jsonb, $6::pg_catalog.text[])"
            )
        };
        let mut current = self.current.lock().await;
        if let Some(connected) = current.as_ref().filter(|connected| connected.is_good()) {
            return Ok(connected.clone());
        }
        let doubts = self.postgres.doubts();
        // What is given up here ends there, and what somebody holds does not keep other tables waiting.
        let settings = format!(
            "{SESSION}; SET statement_timeout = {}; SET lock_timeout = {}",
            self.postgres.query_timeout.as_millis(),
            LOCK_WAIT_MAX.min(self.postgres.query_timeout / 2).as_millis()
        );
        let (client, messages) = self.postgres.connect("flusher", &settings).await?;
        let driver = OwnedTask(tokio::spawn(drive(messages)));
        let (apply, suspicious) = (by("cache_sync.apply"), by("cache_sync_internal.apply_suspicious"));
        let prepared = tokio::try_join!(client.prepare(&apply), client.prepare(&suspicious));
        let (apply, apply_suspicious) = prepared.map_err(|error| Error::query("preparing to write", error))?;
        let connected = Arc::new(Connected { client, apply, apply_suspicious, doubts, _driver: driver });
        *current = Some(connected.clone());
        Ok(connected)
    }

    fn doubt_server(&self) {
        self.postgres.doubt_server();
    }

    async fn forget(&self) {
        *self.current.lock().await = None;
    }
}

impl Connected {
    fn is_good(&self) -> bool {
        !self.client.is_closed() && !self.doubts.has_changed().unwrap_or(true)
    }
}

#[async_trait]
impl BatchLink for Connected {
    async fn open_session(&self, table: u32, session: Uuid) -> Result<OpenedSession, Error> {
        let text = "SELECT fence, last_seq FROM cache_sync.open_session($1::pg_catalog.oid::pg_catalog.regclass, $2)";
        let opened = self.client.query_one(text, &[&table, &session]).await;
        let opened = opened.map(|row| OpenedSession { fence: Fence(row.get(0)), last: Sequence(row.get(1)) });
        opened.map_err(|error| Error::query("opening a session", error))
    }

    /// The newest letters are looked at first: the role may see none of them.
    async fn dead_letters(
        &self,
        session: Uuid,
        sequence: Sequence,
        refused: usize,
    ) -> Result<HashMap<usize, Refusal>, Error> {
        let text = "SELECT ord, id, message, constraint_name FROM cache_sync.dead_letters \
                    WHERE session OPERATOR(pg_catalog.=) $1 AND seq OPERATOR(pg_catalog.=) $2 ORDER BY id DESC LIMIT $3";
        let rows = self.client.query(text, &[&session, &sequence.0, &(refused as i64)]).await;
        let rows = rows.map_err(|error| Error::query("asking why patches were refused", error))?;
        Ok(rows
            .iter()
            .map(|row| {
                let (place, dead_letter): (i32, i64) = (row.get(0), row.get(1));
                let refusal = Refusal { message: row.get(2), constraint: row.get(3), dead_letter: Some(dead_letter) };
                (usize::try_from(place).unwrap_or_default(), refusal)
            })
            .collect())
    }

    /// The answer is only believed once the server is ready for the next query: the commit comes after the command's completion.
    async fn apply(&self, batch: &Sending<'_>) -> Result<Applied, Error> {
        let Sending { table, session, fence, sequence, shapes, rows, is_suspicious } = batch;
        let params: [&(dyn ToSql + Sync); 6] = [table, session, &fence.0, &sequence.0, shapes, rows];
        let statement = if *is_suspicious { &self.apply_suspicious } else { &self.apply };
        let row = self.client.query_one(statement, &params).await;
        let row = row.map_err(|error| Error::query("writing a batch", error))?;
        let epoch: i64 = row.get(0);
        Ok(Applied { epoch: Epoch(epoch as u64), outcomes: row.get(2) })
    }
}
