//! Queries that are watched.

use super::Query;
use super::run::{self, QueryRead, State};
use crate::client::Shared;
use crate::common::live::Watchable;
use crate::common::task::OwnedTask;
use crate::common::watch::Watch;
use crate::error::Error;
use crate::results::{CachedResult, Question, Terms};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;

impl<T: DeserializeOwned + Send + Sync + 'static> Query<T> {
    /// Shows the result as it is now, and then each time that it has changed: what [`Query::read`] would bring. Where a row has changed on which it
    /// depends, it is loaded again, and shown if it is another. Several who
    /// watch the same query with the same parameters share its loads.
    ///
    /// Results never go back, and the last one is always shown in the end. With [`Query::min_refresh`] it is loaded at most so often. When
    /// the feed falls silent, or Postgres cannot be asked for what has changed, the last rows are shown once more with
    /// [`QueryRead::stale_for`]; and once it is heard again, the rows as they are then.
    ///
    /// # Errors
    /// Items are errors where the result cannot be read, as [`Query::fetch`] says; the next change may mend that. Where nothing could be shown yet because
    /// Postgres is away, the first item waits for it.
    pub fn watch(self) -> Watch<Result<QueryRead<T>, Error>> {
        let Query { shared, statement, parameters, terms, .. } = self;
        let question = Arc::new(Question { statement: Arc::new(statement), parameters });
        let liveness = shared.liveness();
        let watched = WatchedQuery { shared, question, terms, answer: None, rows: PhantomData };
        Watch::of(watched, liveness, |seen: Seen<T>| seen.read, ())
    }
}

/// A query that is watched.
struct WatchedQuery<T> {
    shared: Arc<Shared>,
    question: Arc<Question>,
    terms: Terms,
    /// What the last look showed.
    answer: Option<CachedResult>,
    rows: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Watchable for WatchedQuery<T> {
    type Read = Seen<T>;
    // A result knows what has happened to it since.
    type Since = ();

    fn since(&self) {}

    async fn look(&mut self) -> Result<Seen<T>, Error> {
        run::check(&self.shared, &self.question.statement)?;
        let (answer, state) = match self.shared.results.hit(&*self.question, self.terms) {
            Some((held, outdated_for)) => (held, State::of(outdated_for)),
            None => self.answer().await?,
        };
        self.answer = Some(answer.clone());
        let digest = answer.digest;
        let read = run::read(&self.shared, answer, state)?;
        Ok(Seen { read, digest, is_doubted: matches!(state, State::Doubted(_)) })
    }

    async fn turned(&mut self, (): ()) {
        if let Some(answer) = &self.answer {
            answer.until_outdated(&self.shared.common).await;
        }
    }

    fn is_doubtful(seen: &Seen<T>) -> bool {
        seen.is_doubted
    }

    fn is_same(shown: &Seen<T>, seen: &Seen<T>) -> bool {
        shown.digest == seen.digest && shown.is_doubted == seen.is_doubted
    }

    fn same(shown: &Seen<T>) -> Seen<T> {
        Seen { read: QueryRead { rows: shown.read.rows.clone(), ..shown.read }, ..*shown }
    }

    fn doubted(&self, shown: &Seen<T>) -> Seen<T> {
        let common = &self.shared.common;
        let stale_for = Some(common.freshness.doubt(common.now()));
        let Seen { read, digest, .. } = Self::same(shown);
        Seen { read: QueryRead { stale_for, ..read }, digest, is_doubted: true }
    }

    fn has_ended(&self) -> bool {
        false
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> WatchedQuery<T> {
    /// In a task: whoever does not take items for a while, as a server does whose client is slow, must not keep a connection meanwhile.
    async fn answer(&self) -> Result<(CachedResult, State), Error> {
        let (shared, question, terms) = (self.shared.clone(), self.question.clone(), self.terms);
        let answer = async move { run::answer::<T>(&shared, &question, terms).await };
        let task = OwnedTask(self.shared.supervisor.runtime().spawn(answer));
        task.join().await.unwrap_or_else(|_| Err(Error::closed()))
    }
}

/// What a look at a query has shown.
struct Seen<T> {
    read: QueryRead<T>,
    /// Of what the rows say.
    digest: u64,
    is_doubted: bool,
}
