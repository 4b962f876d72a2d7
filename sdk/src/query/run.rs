//! How a question is answered: from memory, or by a load that several may wait for.

use crate::client::Shared;
use crate::codec::layout::Layout;
use crate::codec::row::{self, Columns};
use crate::config::StaleService;
use crate::error::{Error, ErrorKind, root_cause};
use crate::results::{Ask, CachedResult, LOOK, Loaded, Question, Reload, Statement, Terms};
use crate::store::{NextExpiry, Selected, Selecting};
use serde::de::DeserializeOwned;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A query's rows with what is known about them.
#[derive(Debug)]
#[non_exhaustive]
pub struct QueryRead<T> {
    /// The rows, in the order in which the query gives them.
    pub rows: Arc<Vec<T>>,
    /// How long ago they were asked for: everything that was committed before is in them.
    pub age: Duration,
    /// `None` while the feed is heard and nothing has changed on which they depend. Else they could not be confirmed, and have been in
    /// doubt for so long; or they have changed, are so old, and were taken nevertheless ([`Query::min_refresh`](crate::Query::min_refresh)).
    pub stale_for: Option<Duration>,
}

/// What a query reads, in words: see [`Query::explain`](crate::Query::explain).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryReads {
    /// The tables, each with the rows that matter, such as `public.post where author is $1`.
    pub depends_on: Vec<String>,
    /// What nobody would tell of, each with a hint. With any of it a query is refused, unless it is said to be complete.
    pub refused: Vec<String>,
}

pub(super) async fn explain(shared: &Shared, statement: &Statement) -> Result<QueryReads, Error> {
    shared.common.check_open()?;
    let (depends_on, refused) = shared.results.explain(&statement.sql).await?;
    Ok(QueryReads { depends_on, refused })
}

/// # Errors
/// When the client is closed, or nothing would ever end the result.
pub(super) fn check(shared: &Shared, statement: &Statement) -> Result<(), Error> {
    if statement.is_complete && statement.depends_on.is_empty() {
        let message = "a query that is said to be complete must depend on something: depends_on, or depends_on_table";
        return Err(Error::new(ErrorKind::Config, message));
    }
    shared.common.check_open()
}

/// What is held and may be served.
pub(super) fn hit<T: Send + Sync + 'static>(
    shared: &Shared,
    question: &dyn Ask,
    terms: Terms,
) -> Option<Result<QueryRead<T>, Error>> {
    let (answer, outdated_for) = shared.results.hit(question, terms)?;
    Some(read(shared, answer, State::of(outdated_for)))
}

/// What is loaded, or served although it may be old, if it is not held.
pub(super) async fn miss<T: DeserializeOwned + Send + Sync + 'static>(
    shared: Arc<Shared>,
    question: Arc<Question>,
    terms: Terms,
) -> Result<QueryRead<T>, Error> {
    let (answer, state) = answer::<T>(&shared, &question, terms).await?;
    read(&shared, answer, state)
}

/// What is known of what a result says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Current,
    /// It has changed since, is so old, and is taken nevertheless.
    Outdated(Duration),
    /// It could not be confirmed, and has been in doubt for so long.
    Doubted(Duration),
}

impl State {
    pub(super) fn of(outdated_for: Option<Duration>) -> State {
        outdated_for.map_or(State::Current, State::Outdated)
    }
}

/// The same, and what is known of it.
pub(super) async fn answer<T: DeserializeOwned + Send + Sync + 'static>(
    shared: &Arc<Shared>,
    question: &Arc<Question>,
    terms: Terms,
) -> Result<(CachedResult, State), Error> {
    let stale = || {
        let (answer, doubt) = shared.results.stale(&**question, terms)?;
        Some((answer, State::Doubted(doubt)))
    };
    let (breaker, asked) = (&shared.store.breaker, Instant::now());
    let stale_service = shared.config.stale_service();
    if stale_service.is_some()
        && breaker.is_away()
        && !breaker.may_look()
        && let Some(stale) = stale()
    {
        return Ok(stale);
    }
    let mut load = Box::pin(load::<T>(shared.clone(), question.clone(), terms, true));
    let in_time = match stale_service {
        None => None,
        Some(StaleService { after, .. }) => shared.store.wait(&mut load, after).await,
    };
    let answer = match in_time {
        Some(answer) => answer,
        None => {
            if stale_service.is_some()
                && let Some(stale) = stale()
            {
                breaker.is_silent(asked);
                // It may only be slow: nobody would ever see what it brings if all gave it up.
                if let Some(going_on) = GoingOn::begin(shared, question) {
                    shared.supervisor.runtime().spawn(async move {
                        drop(load.await);
                        drop(going_on);
                    });
                }
                return Ok(stale);
            }
            load.await
        }
    };
    match answer {
        Ok(answer) => {
            let outdated_for = shared.results.outdated_for(&answer, terms);
            Ok((answer, State::of(outdated_for)))
        }
        Err(error) if error.is_unavailable() => stale().ok_or(error),
        Err(error) => Err(error),
    }
}

/// A load of a question that goes on although nobody waits for it; one at a time.
struct GoingOn {
    shared: Arc<Shared>,
    question: Arc<Question>,
}

impl GoingOn {
    fn begin(shared: &Arc<Shared>, question: &Arc<Question>) -> Option<GoingOn> {
        let begins = shared.results.going_on(|questions| questions.insert(question.clone()));
        begins.then(|| GoingOn { shared: shared.clone(), question: question.clone() })
    }
}

impl Drop for GoingOn {
    fn drop(&mut self) {
        self.shared.results.going_on(|questions| questions.remove(&self.question));
    }
}

async fn load<T: DeserializeOwned + Send + Sync + 'static>(
    shared: Arc<Shared>,
    question: Arc<Question>,
    terms: Terms,
    by_reader: bool,
) -> Result<CachedResult, Error> {
    let (store, asked) = (shared.store.clone(), question.clone());
    let select = move |expiries: Vec<NextExpiry>| async move {
        let parameters: Vec<_> = asked.parameters.iter().map(|parameter| parameter.as_sql()).collect();
        let misfit = |error: row::DecodeError| {
            let message = format!("a row of a query does not fit its type: {}", root_cause(&error));
            Error::caused(ErrorKind::Value, message, error)
        };
        let mut rows = Vec::new();
        let mut read = |layout: &Layout, row: &dyn Columns| {
            rows.push(row::decode::<T>(layout, row, 0).map_err(misfit)?);
            Ok(())
        };
        let (sql, params) = (&asked.statement.sql, &parameters[..]);
        let selecting = Selecting { sql, params, expiries: &expiries, read: &mut read };
        let Selected { epoch, bytes, digest, good_for } = store.select(selecting).await?;
        let bytes = bytes + rows.len() * size_of::<T>();
        Ok(Loaded { epoch, rows: Arc::new(rows), bytes, digest, good_for })
    };
    let answer = shared.results.load(&question, terms, select).await?;
    if terms.refresh_on_change {
        look_after::<T>(&shared, &question, terms, &answer, by_reader);
    }
    Ok(answer)
}

/// A load that nobody asked for. If it comes to nothing, the next reader loads.
struct Reloading {
    shared: Arc<Shared>,
    question: Arc<Question>,
    is_done: bool,
}

impl Drop for Reloading {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.results.refreshing.not_refreshed(&self.question);
        }
    }
}

/// The result is to be loaded again once it has changed.
fn look_after<T: DeserializeOwned + Send + Sync + 'static>(
    shared: &Arc<Shared>,
    question: &Arc<Question>,
    terms: Terms,
    answer: &CachedResult,
    by_reader: bool,
) {
    let (client, asked) = (Arc::downgrade(shared), question.clone());
    let reload: Reload = Arc::new(move || {
        let (client, question) = (client.clone(), asked.clone());
        Box::pin(async move {
            let Some(shared) = client.upgrade() else { return };
            if let Some((answer, None)) = shared.results.peek(&*question, terms) {
                // Somebody was quicker.
                return look_after::<T>(&shared, &question, terms, &answer, true);
            }
            // Also if a type's own code panics.
            let mut reloading = Reloading { shared: shared.clone(), question: question.clone(), is_done: false };
            reloading.is_done = load::<T>(shared, question, terms, false).await.is_ok();
        })
    });
    if shared.results.refreshing.refreshed(question, answer, by_reader, reload) {
        shared.supervisor.spawn(None, refresh(Arc::downgrade(shared)));
    }
}

/// Loads what is due, until nothing is looked after any more. What it has begun ends with it.
async fn refresh(client: Weak<Shared>) {
    let mut reloads = JoinSet::new();
    loop {
        tokio::time::sleep(LOOK).await;
        while reloads.try_join_next().is_some() {}
        let Some(shared) = client.upgrade().filter(|shared| shared.common.check_open().is_ok()) else { return };
        let Some(due) = shared.results.refreshing.due(shared.common.now()) else { return };
        due.into_iter().for_each(|reload| drop(reloads.spawn(reload())));
    }
}

pub(super) fn read<T: Send + Sync + 'static>(
    shared: &Shared,
    answer: CachedResult,
    state: State,
) -> Result<QueryRead<T>, Error> {
    let stale_for = match state {
        State::Current => None,
        State::Outdated(age) | State::Doubted(age) => Some(age),
    };
    let age = shared.results.age(&answer);
    let rows = answer.rows.downcast::<Vec<T>>();
    let rows = rows.map_err(|_| Error::new(ErrorKind::Value, "a result is of another type than was asked for"))?;
    Ok(QueryRead { rows, age, stale_for })
}
