//! The database behind a client: what [`Store`](crate::store::Store) asks.

use super::feed::MemoryFeed;
use super::inner::Inner;
use super::rows::{self, Members, Shown};
use super::state::wall_micros;
use crate::codec::layout::{Layout, TableMeta};
use crate::codec::row::LoadedColumns;
use crate::common::lock::lock;
use crate::error::{Error, Step};
use crate::receipt::Refusal;
use crate::store::{
    Applied, BatchLink, Batches, Database, FeedLink, LoadState, LoadStatement, Loading, OpenedSession, Selected,
    Selecting, Sending, Takes,
};
use async_trait::async_trait;
use cache_sync_core::number::{Epoch, HostTime, Lsn, Position, Sequence};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

const ASKING: Step = "asking the database in memory";
const LOADING: Step = "loading rows";
const WRITING: Step = "writing a batch";

/// One client's way to it.
pub(super) struct Link(pub(super) Arc<Inner>);

#[async_trait]
impl Database for Link {
    async fn established(&self) -> Result<(), Error> {
        self.0.faults.meet(ASKING).await
    }

    async fn describe(&self, table: &str) -> Result<TableMeta, Error> {
        let state = lock(&self.0.state);
        let missing = || Error::saying("describing the table", "42P01", format!("relation \"{table}\" does not exist"));
        Ok(state.tables[state.named(table).ok_or_else(missing)?].table.meta.clone())
    }

    /// They are known from the start.
    async fn resolve(&self, _meta: &TableMeta, _layout: &mut Layout) -> Result<(), Error> {
        Ok(())
    }

    async fn load(
        &self,
        _statement: &LoadStatement,
        loading: &Loading<'_>,
        takes: &mut (dyn Takes + '_),
    ) -> Result<bool, Error> {
        self.0.faults.meet(LOADING).await?;
        let state = lock(&self.0.state);
        let Some(place) = state.of_relation(loading.meta.relation) else { return Ok(false) };
        let stored = &state.tables[place];
        let session = state.sessions.get(&(loading.meta.relation, loading.session));
        let begun = takes.begin(LoadState {
            epoch: state.epoch,
            last_seq: session.map_or(Sequence(0), |session| session.last),
            lsn: Lsn(state.position.0),
            host_time: state.host_time(),
            relation: loading.meta.relation,
        });
        let now = wall_micros();
        for (number, key) in (1..).zip(0..loading.keys.count()).filter(|_| begun) {
            let members = format!("{{{}}}", loading.keys.members(key, &loading.meta.key));
            let members: Members = serde_json::from_str(&members).unwrap_or_default();
            let key = rows::key_of(&members, &stored.table).ok();
            let row = key.and_then(|key| state.row(place, &key));
            let shown = Shown::of(row, &stored.table, loading.layout);
            takes.row(&LoadedColumns {
                place: if row.is_some() { number } else { -number },
                version: row.filter(|_| loading.meta.versioned).map(|row| row.version),
                good_for: row.and_then(|row| row.expires_in(&stored.table, now)),
                row: &shown,
                first: 0,
            });
        }
        Ok(true)
    }

    async fn dependencies(&self, sql: &str) -> Result<String, Error> {
        self.0.faults.meet(ASKING).await?;
        lock(&self.0.answers).dependencies(sql, &lock(&self.0.state))
    }

    async fn select(&self, selecting: Selecting<'_>) -> Result<Selected, Error> {
        self.0.faults.meet("running a query").await?;
        let answering = lock(&self.0.answers).answering(selecting.sql)?;
        answering.run(&lock(&self.0.state), selecting)
    }

    async fn feed_head(&self) -> Result<(Epoch, Position), Error> {
        self.0.faults.meet("reading the feed's head").await?;
        let state = lock(&self.0.state);
        Ok((state.epoch, state.position))
    }

    async fn clock(&self) -> Result<(Epoch, HostTime), Error> {
        self.0.faults.meet(ASKING).await?;
        let state = lock(&self.0.state);
        Ok((state.epoch, state.host_time()))
    }

    async fn feed(&self) -> Result<Box<dyn FeedLink>, Error> {
        self.0.faults.meet("connecting").await?;
        Ok(Box::new(MemoryFeed::new(self.0.clone())))
    }

    fn batches(&self) -> Arc<dyn Batches> {
        Arc::new(Writer(self.0.clone()))
    }

    /// There is no other one.
    fn doubt(&self) {}

    fn close(&self) {}
}

#[derive(Clone)]
struct Writer(Arc<Inner>);

#[async_trait]
impl Batches for Writer {
    async fn get(&self) -> Result<Arc<dyn BatchLink>, Error> {
        self.0.faults.meet(WRITING).await?;
        Ok(Arc::new(self.clone()))
    }

    async fn forget(&self) {}

    fn doubt_server(&self) {}
}

#[async_trait]
impl BatchLink for Writer {
    async fn open_session(&self, table: u32, session: Uuid) -> Result<OpenedSession, Error> {
        self.0.faults.meet_writing("opening a session").await?;
        Ok(lock(&self.0.state).open_session(table, session))
    }

    async fn apply(&self, batch: &Sending<'_>) -> Result<Applied, Error> {
        self.0.faults.meet_writing(WRITING).await?;
        let applied = lock(&self.0.state).apply(batch)?;
        self.0.tell();
        // What is applied is, whoever hears of it.
        if self.0.faults.loses_reply() { Err(super::faults::away(WRITING)) } else { Ok(applied) }
    }

    async fn dead_letters(
        &self,
        session: Uuid,
        sequence: Sequence,
        _refused: usize,
    ) -> Result<HashMap<usize, Refusal>, Error> {
        let state = lock(&self.0.state);
        let of_batch = state.letters.iter().filter(|letter| letter.session == session && letter.sequence == sequence.0);
        let refusal = |letter: &super::state::DeadLetter| Refusal {
            message: letter.message.clone(),
            constraint: letter.constraint.clone(),
            dead_letter: Some(letter.id),
        };
        Ok(of_batch.map(|letter| (letter.place, refusal(letter))).collect())
    }
}
