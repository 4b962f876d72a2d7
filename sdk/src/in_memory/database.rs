//! The database behind a client: what [`Store`](crate::store::Store) asks.

use super::faults::broken;
use super::feed::MemoryFeed;
use super::inner::Inner;
use super::rows::{self, Members, Shown};
use super::state::wall_micros;
use crate::codec::layout::{Layout, TableMeta};
use crate::codec::row::LoadedColumns;
use crate::common::lock::lock;
use crate::error::{Error, ErrorKind, Step};
use crate::receipt::Refusal;
use crate::store::{
    Applied, BatchLink, Batches, Database, Ending, FeedLink, LoadState, LoadStatement, Loading, OpenedSession,
    Selected, Selecting, Sending, Takes,
};
use async_trait::async_trait;
use cache_sync_core::number::{Epoch, HostTime, Lsn, Position, Sequence};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

const ASKING: Step = "asking the database in memory";
const LOADING: Step = "loading rows";
const WRITING: Step = "writing a batch";

/// One client's way to it.
pub(super) struct Link {
    inner: Arc<Inner>,
    established: OnceLock<()>,
}

impl Link {
    pub(super) fn new(inner: Arc<Inner>) -> Link {
        Link { inner, established: OnceLock::new() }
    }
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::caused(ErrorKind::Mismatch, "a key is of a form that is unknown here", error)
}

#[async_trait]
impl Database for Link {
    async fn established(&self) -> Result<(), Error> {
        if self.established.get().is_none() {
            self.inner.faults.meet(ASKING).await?;
            let _ = self.established.set(());
        }
        Ok(())
    }

    async fn describe(&self, table: &str) -> Result<TableMeta, Error> {
        self.inner.faults.meet("describing the table").await?;
        let state = lock(&self.inner.state);
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
        self.inner.faults.meet(LOADING).await?;
        let state = lock(&self.inner.state);
        let Some(place) = state.of_relation(loading.meta.relation) else { return Ok(false) };
        let stored = &state.tables[place];
        let session = state.sessions.get(&(loading.meta.relation, loading.session));
        let seen = LoadState {
            epoch: state.epoch,
            last_seq: session.map_or(Sequence(-1), |session| session.last),
            lsn: Lsn(state.position.0),
            host_time: state.host_time(),
            relation: loading.meta.relation,
        };
        let (now, mut rows) = (wall_micros(), Vec::new());
        for key in 0..loading.keys.count() {
            let members = format!("{{{}}}", loading.keys.members(key, &loading.meta.key));
            let members: Members = serde_json::from_str(&members).map_err(unreadable)?;
            let row = match rows::key_of(&members, &stored.table) {
                Ok(key) => state.row(place, &key),
                Err(misfit) => return Err(Error::saying(LOADING, misfit.sqlstate, misfit.message)),
            };
            let good_for = row.and_then(|row| row.expires_in(&stored.table, now));
            let version = row.filter(|_| loading.meta.versioned).map(|row| row.version);
            rows.push((version, good_for, row.is_some(), Shown::of(row, &stored.table, loading.layout)));
        }
        // Taking them runs the type's own code.
        drop(state);
        if takes.begin(seen) {
            for (number, (version, good_for, is_there, row)) in (1..).zip(&rows) {
                let place = if *is_there { number } else { -number };
                let (version, good_for) = (*version, *good_for);
                takes.row(&LoadedColumns { place, version, good_for, row, first: 0 });
            }
        }
        Ok(true)
    }

    async fn dependencies(&self, sql: &str) -> Result<String, Error> {
        self.inner.faults.meet(ASKING).await?;
        lock(&self.inner.answers).dependencies(sql, &lock(&self.inner.state))
    }

    async fn select(&self, selecting: Selecting<'_>) -> Result<Selected, Error> {
        self.inner.faults.meet("running a query").await?;
        let known = lock(&self.inner.answers).known(selecting.sql)?;
        let rows = known.rows(&lock(&self.inner.state));
        known.run(&rows, selecting)
    }

    async fn feed_head(&self) -> Result<(Epoch, Position), Error> {
        self.inner.faults.meet("reading the feed's head").await?;
        let state = lock(&self.inner.state);
        Ok((state.epoch, state.position))
    }

    async fn clock(&self) -> Result<(Epoch, HostTime), Error> {
        self.inner.faults.meet(ASKING).await?;
        let state = lock(&self.inner.state);
        Ok((state.epoch, state.host_time()))
    }

    /// A write is told as it is made.
    async fn unpublished(&self, _which: Ending) -> Result<HashSet<String>, Error> {
        self.inner.faults.meet(ASKING).await?;
        Ok(HashSet::new())
    }

    async fn feed(&self) -> Result<Box<dyn FeedLink>, Error> {
        self.inner.faults.meet("connecting").await?;
        Ok(Box::new(MemoryFeed::new(self.inner.clone())))
    }

    fn batches(&self) -> Arc<dyn Batches> {
        Arc::new(Writer(self.inner.clone()))
    }

    /// There is no other one.
    fn doubt(&self) {}

    fn close(&self) {}
}

struct Writer(Arc<Inner>);

/// A connection, until it is broken.
struct WritingLink {
    inner: Arc<Inner>,
    number: u64,
}

impl WritingLink {
    async fn meet(&self, step: Step) -> Result<(), Error> {
        self.inner.faults.meet_writing(step).await?;
        if *self.inner.faults.broken.borrow() == self.number { Ok(()) } else { Err(broken(step)) }
    }
}

#[async_trait]
impl Batches for Writer {
    async fn get(&self) -> Result<Arc<dyn BatchLink>, Error> {
        self.0.faults.meet(WRITING).await?;
        let number = *self.0.faults.broken.borrow();
        Ok(Arc::new(WritingLink { inner: self.0.clone(), number }))
    }

    async fn forget(&self) {}

    fn doubt_server(&self) {}
}

#[async_trait]
impl BatchLink for WritingLink {
    async fn open_session(&self, table: u32, session: Uuid) -> Result<OpenedSession, Error> {
        self.meet("opening a session").await?;
        Ok(lock(&self.inner.state).open_session(table, session))
    }

    async fn apply(&self, batch: &Sending<'_>) -> Result<Applied, Error> {
        self.meet(WRITING).await?;
        let applied = lock(&self.inner.state).apply(batch)?;
        self.inner.tell();
        // What is applied is, whoever hears of it.
        if self.inner.faults.loses_reply() { Err(broken(WRITING)) } else { Ok(applied) }
    }

    async fn dead_letters(
        &self,
        session: Uuid,
        sequence: Sequence,
        _refused: usize,
    ) -> Result<HashMap<usize, Refusal>, Error> {
        self.meet("asking why patches were refused").await?;
        let state = lock(&self.inner.state);
        let of_batch = state.letters.iter().filter(|letter| letter.session == session && letter.sequence == sequence.0);
        let refusal = |letter: &super::state::DeadLetter| Refusal {
            message: letter.message.clone(),
            constraint: letter.constraint.clone(),
            dead_letter: Some(letter.id),
        };
        Ok(of_batch.map(|letter| (letter.place, refusal(letter))).collect())
    }
}
