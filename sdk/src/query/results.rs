//! The results that a client holds, and the loads under way.

use super::bind::Bound;
use super::depends::{Seen, Source};
use super::tag::TagValue;
use crate::error::{Error, Kind};
use crate::feed::{Feed, Part};
use crate::freshness::Freshness;
use crate::lock::lock;
use crate::store::{Store, within};
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Which result it is.
pub(super) struct Question {
    pub(super) sql: String,
    pub(super) parameters: Vec<Box<dyn Bound>>,
    /// Table, and a tag's name and value; without one, the whole table.
    pub(super) depends_on: Vec<(String, Option<(String, TagValue)>)>,
    /// Of what type the rows are.
    pub(super) rows: TypeId,
}

impl PartialEq for Question {
    fn eq(&self, other: &Question) -> bool {
        self.rows == other.rows
            && self.sql == other.sql
            && self.depends_on == other.depends_on
            && self.parameters.len() == other.parameters.len()
            && self.parameters.iter().zip(&other.parameters).all(|(one, other)| one.is_same(&**other))
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sql.hash(state);
        self.parameters.iter().for_each(|parameter| parameter.hashed().hash(state));
        self.depends_on.hash(state);
    }
}

/// A result with what it depends on.
#[derive(Clone)]
pub(super) struct Answer {
    /// A `Vec` of the rows' type.
    pub(super) rows: Arc<dyn Any + Send + Sync>,
    seen: Arc<[Seen]>,
    /// Whether it came from the server whose changes are heard, while they were heard.
    trusted: bool,
}

impl Answer {
    fn is_current(&self) -> bool {
        self.trusted && self.seen.iter().all(Seen::is_current)
    }
}

/// A load that several may wait for.
#[derive(Clone)]
struct Flight {
    answer: Arc<OnceCell<Result<Answer, Error>>>,
    /// What the tables said when it began: who comes after a change must not get what was read before.
    began: Arc<[Seen]>,
}

/// The results of a client.
pub(crate) struct Results {
    held: moka::sync::Cache<Arc<Question>, Answer>,
    flights: Mutex<HashMap<Arc<Question>, Flight>>,
    /// By the name that the caller uses.
    sources: Mutex<HashMap<String, Arc<Source>>>,
}

impl Results {
    pub(crate) fn new(max_capacity: u64) -> Results {
        Results { held: moka::sync::Cache::new(max_capacity), flights: Mutex::default(), sources: Mutex::default() }
    }

    /// What is held and may be served.
    pub(super) fn hit(&self, question: &Question, freshness: &Freshness) -> Option<Answer> {
        let answer = self.held.get(question)?;
        (freshness.is_live() && answer.is_current()).then_some(answer)
    }

    /// What is held and was good when Postgres was heard last, not longer than `bound` ago.
    pub(super) fn stale(
        &self,
        question: &Question,
        freshness: &Freshness,
        bound: Duration,
    ) -> Option<(Answer, Duration)> {
        let answer = self.held.get(question).filter(Answer::is_current)?;
        let doubt = freshness.doubt();
        (doubt <= bound).then_some((answer, doubt))
    }

    /// Loads, or waits for a load that began after everything that this caller may know of.
    pub(super) async fn load<L>(
        &self,
        question: &Arc<Question>,
        seen: Vec<Seen>,
        freshness: &Freshness,
        load: impl FnOnce() -> L,
    ) -> Result<Answer, Error>
    where
        L: Future<Output = Result<(u64, Arc<dyn Any + Send + Sync>), Error>>,
    {
        let seen: Arc<[Seen]> = seen.into();
        let flight = self.flight(question, &seen);
        let answer = flight.answer.get_or_init(async || {
            let live = freshness.is_live();
            let (epoch, rows) = load().await?;
            Ok(Answer { rows, seen: flight.began.clone(), trusted: live && epoch == freshness.epoch() })
        });
        let answer = answer.await.clone();
        let mut flights = lock(&self.flights);
        if flights.get(question).is_some_and(|other| Arc::ptr_eq(&other.answer, &flight.answer)) {
            flights.remove(question);
            if let Ok(answer) = answer.as_ref()
                && answer.is_current()
            {
                self.held.insert(question.clone(), answer.clone());
            }
        }
        answer
    }

    fn flight(&self, question: &Arc<Question>, seen: &Arc<[Seen]>) -> Flight {
        let fresh = || Flight { answer: Arc::default(), began: seen.clone() };
        match lock(&self.flights).entry(question.clone()) {
            Entry::Occupied(flight) if flight.get().began.iter().all(Seen::is_current) => flight.get().clone(),
            Entry::Occupied(mut flight) => {
                flight.insert(fresh());
                flight.get().clone()
            }
            Entry::Vacant(vacant) => vacant.insert(fresh()).clone(),
        }
    }

    /// The table of this name, subscribed to.
    ///
    /// # Errors
    /// When it is not attached, or the feed does not answer.
    pub(super) async fn source(
        &self,
        name: &str,
        (store, feed, timeout): (&Store, &Feed, Duration),
    ) -> Result<Arc<Source>, Error> {
        if let Some(source) = lock(&self.sources).get(name).filter(|source| !source.is_defunct()) {
            return Ok(source.clone());
        }
        let (_, meta) = store.describe(name).await?;
        if !meta.preloaded {
            let message = "the server has not loaded cache_sync at start, so there is no feed";
            return Err(Error::new(Kind::Mismatch, message));
        }
        let (source, registration) = {
            // Two names may be those of one table, and two callers may ask at once.
            let mut sources = lock(&self.sources);
            let known = sources.values().find(|source| source.id == meta.table_id && !source.is_defunct()).cloned();
            let source = known.unwrap_or_else(|| Arc::new(Source::new(meta)));
            sources.insert(name.to_owned(), source.clone());
            (source.clone(), feed.register(source.id, Part::Queries, source))
        };
        within("subscribing to the table's changes", timeout, async {
            feed.served(registration).await;
            Ok(())
        })
        .await?;
        Ok(source)
    }
}
