//! What a client asks of its database, whichever that is.
//!
//! ```text
//! database  the trait that a database fulfils     breaker  whether it is known to be away
//! rows      loads of rows by key                  batches  patches, applied once each
//! feed      what was committed                    result   queries of the user's
//! within    time-outs                             aside    what nobody waits for
//! ```
//! Whatever is said to a database passes here; who says it knows nothing of connections and servers.

mod aside;
mod batches;
mod breaker;
mod database;
mod feed;
mod result;
mod rows;
mod within;

pub(crate) use aside::Aside;
pub(crate) use batches::{Applied, BatchLink, Batches, OpenedSession, Sending};
pub(crate) use database::{Database, Ending};
pub(crate) use feed::{FeedLink, Since};
pub(crate) use result::{NextExpiry, Selected, Selecting};
pub(crate) use rows::{KeysOf, LoadColumns, LoadState, LoadStatement, Loading, Takes, Taking};
pub(crate) use within::within;

use crate::codec::layout::{Layout, TableMeta, quote};
use crate::error::{Error, Step};
use aside::Asides;
use breaker::Breaker;
use cache_sync_core::number::{Epoch, HostTime, Position};
use cache_sync_core::sqlstate::{Fault, is_no_such_table};
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const LOADING: Step = "loading rows";
const SELECTING: Step = "running a query";

/// The database of a client, and whether it answers.
pub(crate) struct Store {
    database: Arc<dyn Database>,
    runtime: tokio::runtime::Handle,
    /// Whether it is known to be away.
    pub(crate) breaker: Breaker,
    asides: Asides,
    pub(crate) connect_timeout: Duration,
    pub(crate) query_timeout: Duration,
}

impl Store {
    pub(crate) fn new(database: Arc<dyn Database>, connect_timeout: Duration, query_timeout: Duration) -> Store {
        let runtime = tokio::runtime::Handle::current();
        Store {
            database,
            runtime,
            breaker: Breaker::default(),
            asides: Asides::default(),
            connect_timeout,
            query_timeout,
        }
    }

    /// As [`Database::established`].
    pub(crate) async fn established(&self) -> Result<(), Error> {
        self.database.established().await
    }

    /// As [`Database::feed_head`].
    pub(crate) async fn feed_head(&self) -> Result<(Epoch, Position), Error> {
        self.established().await?;
        self.database.feed_head().await
    }

    /// As [`Database::clock`].
    pub(crate) async fn clock(&self) -> Result<(Epoch, HostTime), Error> {
        self.database.clock().await
    }

    /// As [`Database::describe`].
    pub(crate) async fn describe(&self, table: &str) -> Result<TableMeta, Error> {
        self.established().await?;
        self.database.describe(table).await
    }

    /// As [`Database::resolve`].
    pub(crate) async fn resolve(&self, meta: &TableMeta, layout: &mut Layout) -> Result<(), Error> {
        self.database.resolve(meta, layout).await
    }

    /// Whether the name that the table had still means the same relation, attached as it was, with keys hashed as they were.
    ///
    /// # Errors
    /// When that cannot be told now.
    pub(crate) async fn is_still(&self, known: &TableMeta) -> Result<bool, Error> {
        match self.describe(&format!("{}.{}", quote(&known.schema), quote(&known.name))).await {
            Ok(meta) => Ok(meta.relation == known.relation
                && meta.hash_key == known.hash_key
                && meta.expires == known.expires
                && meta.table_id == known.table_id),
            // Who may no longer read it hears nothing of it either.
            Err(error) if error.sqlstate().is_some_and(is_of_no_use) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// As [`Database::load`], within the time that a question may take.
    pub(crate) async fn load(
        &self,
        statement: &LoadStatement,
        loading: &Loading<'_>,
        takes: &mut (dyn Takes + '_),
    ) -> Result<bool, Error> {
        let asked = Instant::now();
        let loaded = self.load_unheard(statement, loading, takes).await;
        self.heard(&loaded, asked);
        loaded
    }

    /// Waits until nobody else asks for what nobody waits for.
    pub(crate) async fn aside(&self) -> Aside<'_> {
        self.asides.wait().await
    }

    /// The same for nobody who waits: whether it is answered has no say in whether the database is away.
    pub(crate) async fn load_aside(
        &self,
        _alone: &Aside<'_>,
        statement: &LoadStatement,
        loading: &Loading<'_>,
        takes: &mut (dyn Takes + '_),
    ) -> Result<bool, Error> {
        self.load_unheard(statement, loading, takes).await
    }

    async fn load_unheard(
        &self,
        statement: &LoadStatement,
        loading: &Loading<'_>,
        takes: &mut (dyn Takes + '_),
    ) -> Result<bool, Error> {
        within(LOADING, self.query_timeout, self.database.load(statement, loading, takes)).await
    }

    /// As [`Database::dependencies`].
    pub(crate) async fn dependencies(&self, sql: &str) -> Result<String, Error> {
        self.established().await?;
        self.database.dependencies(sql).await
    }

    /// As [`Database::select`], within the time that a question may take.
    pub(crate) async fn select(&self, selecting: Selecting<'_>) -> Result<Selected, Error> {
        self.established().await?;
        let selecting = self.database.select(selecting);
        let asked = Instant::now();
        let selected = within(SELECTING, self.query_timeout, selecting).await;
        self.heard(&selected, asked);
        selected
    }

    /// As [`Database::unpublished`].
    pub(crate) async fn unpublished(&self, which: Ending) -> Result<HashSet<String>, Error> {
        self.database.unpublished(which).await
    }

    /// As [`Database::feed`].
    pub(crate) async fn feed(&self) -> Result<Box<dyn FeedLink>, Error> {
        self.database.feed().await
    }

    /// As [`Database::batches`].
    pub(crate) fn batches(&self) -> Arc<dyn Batches> {
        self.database.batches()
    }

    /// As [`Database::doubt`].
    pub(crate) fn doubt_server(&self) {
        self.database.doubt();
    }

    /// As [`Database::close`].
    pub(crate) fn close(&self) {
        self.database.close();
    }

    /// The work, as if it were polled where the client was made, whoever polls it: several may drive it in turn, and its time must go on
    /// when the runtime of one of them has ended.
    ///
    /// It has memory of its own: what is moved into an `async` block and pinned there lies in it twice, and all of it is moved.
    pub(crate) fn here<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + Unpin + use<F> {
        let (runtime, mut work) = (self.runtime.clone(), Box::pin(work));
        std::future::poll_fn(move |context| {
            let _here = runtime.enter();
            work.as_mut().poll(context)
        })
    }

    /// Waits for the answer for so long; `None`: it has not come. Callers may be polled by anybody, but time passes where the client was
    /// made.
    pub(crate) async fn wait<T>(&self, answer: impl Future<Output = T>, time: Duration) -> Option<T> {
        let over = {
            let _here = self.runtime.enter();
            tokio::time::sleep(time)
        };
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = over => None,
        }
    }

    /// Notes whether the database has answered what was asked at `asked`.
    fn heard<T>(&self, answer: &Result<T, Error>, asked: Instant) {
        match answer {
            Ok(_) => self.breaker.answered(),
            // One statement that is slow says nothing of the others.
            Err(error) if error.is_silence() => self.breaker.is_silent(asked),
            Err(error) if error.sqlstate().is_some() => self.breaker.answered(),
            Err(_) => {}
        }
    }
}

/// Whether a table cannot be cached: there is none, it is not attached, or may not be read.
fn is_of_no_use(sqlstate: &str) -> bool {
    Fault::of(sqlstate) == Fault::Table || is_no_such_table(sqlstate)
}
