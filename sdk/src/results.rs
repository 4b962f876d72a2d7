//! The results of queries that a client holds, and the loads under way.
//!
//! ```text
//! question  which result it is       bind  its parameters       tag  values of the columns that results depend on
//! depends   counters that changes raise            reads  what the server says of a query
//! sources   tables that results depend on          statements  what they depend on
//! terms     what callers take          held  what was loaded          refresh  what is loaded again before anybody asks
//! ```

mod bind;
mod depends;
mod held;
mod question;
mod reads;
mod refresh;
mod sources;
mod statements;
mod tag;
mod terms;

pub(crate) use bind::Bound;
pub(crate) use held::CachedResult;
pub(crate) use question::{Ask, Asked, Dependency, Question, Rows, Statement, TagIs};
pub(crate) use refresh::{LOOK, Refreshing, Reload};
pub use tag::TagValue;
pub(crate) use terms::Terms;

use crate::change::Feed;
use crate::common::Common;
use crate::common::capacity::Capacity;
use crate::common::counters::Counter;
use crate::common::lock::lock;
use crate::common::time::Moment;
use crate::config::ClientConfig;
use crate::error::{Error, ErrorKind, Step};
use crate::meter::Timer;
use crate::store::{NextExpiry, Store, within};
use cache_sync_core::number::Epoch;
use depends::Mark;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use sources::Sources;
use statements::{Statements, Watched};
use std::any::Any;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::Mutex as AsyncMutex;
use tracing::{Instrument, debug_span};

const PANICKED: &str = "the code of a parameter's type panicked";
const LOOKING_UP: Step = "looking up the tables of a query";

/// What a query brought.
pub(crate) struct Loaded {
    /// That of the server that ran it.
    pub(crate) epoch: Epoch,
    /// A `Vec` of the rows' type.
    pub(crate) rows: Arc<dyn Any + Send + Sync>,
    /// How many bytes they have.
    pub(crate) bytes: usize,
    /// Of what they say.
    pub(crate) digest: u64,
    /// For how long it is good, counted from before it was asked for.
    pub(crate) good_for: Option<Duration>,
}

/// How a load began.
struct Began {
    /// It shows everything that was committed before.
    at: Moment,
    /// What the tables said then: who comes after a change must not get what was read before.
    marks: Arc<[Mark]>,
}

/// A load that several may wait for. Each of them drives it, so that one who does not look after his call any more holds up nobody; it ends
/// with the last one.
#[derive(Clone)]
struct QueryFlight {
    answer: Shared<BoxFuture<'static, Result<CachedResult, Error>>>,
    /// Once it has begun.
    began: Arc<OnceLock<Began>>,
    /// One load of a question at a time, unless it is slow: while one runs, all who come after a change wait for the next one.
    turn: Arc<AsyncMutex<()>>,
}

impl QueryFlight {
    /// Whether it brings what is true from now on. One that has begun does if that was at `since` or later and nothing changed; not
    /// while no changes are heard. What began at `refreshed` or later does, whatever changed.
    fn may_be_joined(&self, since: Option<Moment>, refreshed: Moment) -> bool {
        self.began.get().is_none_or(|began| {
            since.is_some_and(|since| began.at >= since)
                && (began.marks.iter().all(Mark::is_current)
                    || (began.at > refreshed && began.marks.iter().all(Mark::is_of_same_table)))
        })
    }
}

/// What a flight does.
struct Flying {
    question: Arc<Question>,
    began: Arc<OnceLock<Began>>,
    turn: Arc<AsyncMutex<()>>,
}

/// A flight, and how many wait for it.
struct Listed {
    flight: QueryFlight,
    waiting: usize,
}

/// Takes a flight off the list when it has arrived, or nobody waits for it any more.
struct Waiting<'a> {
    results: &'a Results,
    question: Arc<Question>,
    flight: QueryFlight,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut flights = lock(&self.results.flights);
        let Some(listed) = flights.get_mut(&self.question) else { return };
        if !listed.flight.answer.ptr_eq(&self.flight.answer) {
            return;
        }
        listed.waiting -= 1;
        if listed.waiting == 0 || self.flight.answer.peek().is_some() {
            // What it holds is let go without the lock.
            let over = flights.remove(&self.question);
            drop(flights);
            drop(over);
        }
    }
}

/// The results of a client.
pub(crate) struct Results {
    common: Arc<Common>,
    /// For how long results may be served while Postgres cannot be asked.
    stale_max: Duration,
    pub(crate) hits: Counter,
    pub(crate) loads: Counter,
    held: moka::sync::Cache<Arc<Question>, CachedResult>,
    come_since_sweep: AtomicU64,
    left_by_sweep: AtomicU64,
    statements: Statements,
    store: Arc<Store>,
    flights: Mutex<HashMap<Arc<Question>, Listed>>,
    /// What is loaded although nobody waits for it.
    going_on: Mutex<HashSet<Arc<Question>>>,
    pub(crate) refreshing: Refreshing,
    /// One result is kept at a time: what is held is looked at first.
    keeping: Mutex<()>,
}

impl Results {
    pub(crate) fn new(config: &ClientConfig, common: Arc<Common>, store: Arc<Store>, feed: Arc<Feed>) -> Results {
        let capacity = Capacity::new(config.query_results_max, config.query_results_bytes_max);
        Results {
            common,
            stale_max: config.stale_while_unavailable,
            hits: Counter::default(),
            loads: Counter::default(),
            held: moka::sync::Cache::builder()
                .max_capacity(capacity.weight_max())
                .weigher(move |_, result: &CachedResult| capacity.weight(result.bytes as u64))
                .build(),
            come_since_sweep: AtomicU64::new(0),
            left_by_sweep: AtomicU64::new(0),
            statements: Statements::new(store.clone(), Sources::new(store.clone(), feed)),
            store,
            flights: Mutex::default(),
            going_on: Mutex::default(),
            refreshing: Refreshing::default(),
            keeping: Mutex::default(),
        }
    }

    /// Looks at, or changes, what is loaded although nobody waits for it.
    pub(crate) fn going_on<T>(&self, work: impl FnOnce(&mut HashSet<Arc<Question>>) -> T) -> T {
        work(&mut lock(&self.going_on))
    }

    /// How many are held.
    pub(crate) fn count(&self) -> u64 {
        self.held.run_pending_tasks();
        self.held.entry_count()
    }

    /// What is held and may be served, and how old it is if it has changed since.
    pub(crate) fn hit(&self, question: &dyn Ask, terms: Terms) -> Option<(CachedResult, Option<Duration>)> {
        let (answer, age) = self.peek(question, terms)?;
        self.hits.add(1);
        if terms.refresh_on_change && !answer.is_read.load(Ordering::Relaxed) {
            answer.is_read.store(true, Ordering::Relaxed);
        }
        Some((answer, age))
    }

    /// The same for whoever does not count as a reader.
    pub(crate) fn peek(&self, question: &dyn Ask, terms: Terms) -> Option<(CachedResult, Option<Duration>)> {
        let answer = self.held.get(question)?;
        let now = self.common.now();
        let is_current = answer.suits(terms, now).filter(|_| self.common.freshness.is_live(now))?;
        let age = (!is_current).then(|| answer.age(now));
        Some((answer, age))
    }

    /// How old it is.
    pub(crate) fn age(&self, answer: &CachedResult) -> Duration {
        answer.age(self.common.now())
    }

    /// How old what a load brought is, if it has changed since and the caller takes that.
    pub(crate) fn outdated_for(&self, answer: &CachedResult, terms: Terms) -> Option<Duration> {
        let now = self.common.now();
        (!terms.min_refresh.is_zero() && !answer.was_current(now)).then(|| answer.age(now))
    }

    /// What is held and was good when Postgres was heard last, if the caller allows it and that is not too long ago.
    pub(crate) fn stale(&self, question: &dyn Ask, terms: Terms) -> Option<(CachedResult, Duration)> {
        let now = self.common.now();
        let is_young = |answer: &CachedResult| terms.max_age.is_none_or(|max| answer.age(now) <= max);
        let answer = self.held.get(question).filter(|answer| answer.was_current(now) && is_young(answer))?;
        let doubt = if answer.trusted { self.common.freshness.doubt(now) } else { now.since(answer.as_of) };
        (doubt <= self.stale_max).then_some((answer, doubt))
    }

    /// What a statement reads and what of that cannot be told, for people.
    ///
    /// # Errors
    /// When the statement is wrong, or Postgres does not answer.
    pub(crate) async fn explain(&self, sql: &str) -> Result<(Vec<String>, Vec<String>), Error> {
        self.statements.explain(sql).await
    }

    /// Loads, or waits for a load that began after everything that this caller may know of.
    pub(crate) async fn load<L>(
        self: &Arc<Results>,
        question: &Arc<Question>,
        terms: Terms,
        load: impl FnOnce(Vec<NextExpiry>) -> L + Send + 'static,
    ) -> Result<CachedResult, Error>
    where
        L: Future<Output = Result<Loaded, Error>> + Send + 'static,
    {
        let flight = self.flight(question, terms, load);
        let waiting = Waiting { results: self, question: question.clone(), flight };
        waiting.flight.answer.clone().await
    }

    /// One load, from the wait for the one before to what is held then.
    async fn run<L>(
        &self,
        flying: Flying,
        terms: Terms,
        load: impl FnOnce(Vec<NextExpiry>) -> L,
    ) -> Result<CachedResult, Error>
    where
        L: Future<Output = Result<Loaded, Error>>,
    {
        let Flying { question, began, turn } = flying;
        // The one before is waited for, but not for longer than what it brings may be old.
        let _turn = tokio::time::timeout(self.common.freshness.timeout(), turn.lock()).await;
        let (at, mut marks, mut expiries) = (self.common.now(), Vec::new(), Vec::new());
        let watched = within(LOOKING_UP, self.store.query_timeout, self.statements.watched(&question)).await?;
        let tables = || watched.iter().map(|watched| watched.source.name()).collect::<Vec<_>>().join(", ");
        let statement = || format!("{:016x}", question.statement.fingerprint());
        let parameters = question.parameters.len();
        // Its text may have values in it.
        let span = debug_span!("cache_sync.query", tables = tables(), statement = statement(), parameters);
        for Watched { source, flushes, rows } in watched {
            marks.push(source.look(flushes, &rows)?);
            expiries.extend(source.next_expiry(&rows));
        }
        let began = began.get_or_init(|| Began { at, marks: marks.into() });
        let asked = self.common.now();
        let live = self.common.freshness.is_live(asked);
        self.loads.add(1);
        let sent = Timer::start();
        let loaded = load(expiries).instrument(span).await;
        self.common.meter.query(sent);
        let Loaded { epoch, rows, bytes, digest, good_for } = loaded?;
        let is_same = epoch.0 == self.common.freshness.epoch();
        if live && !is_same {
            self.store.doubt_server();
        }
        let trusted = live && is_same;
        let until = good_for.map_or(Moment::NEVER, |good_for| asked + good_for);
        let (bytes, marks) = (bytes + question.size(), began.marks.clone());
        let refreshed_from = asked + terms.min_refresh;
        let is_read = self.held.get(&*question).map_or_else(Arc::default, |held| held.is_read);
        let answer = CachedResult { rows, bytes, digest, marks, trusted, as_of: asked, until, refreshed_from, is_read };
        self.keep(&question, &answer);
        Ok(answer)
    }

    /// Holds what a load brought, unless what is held was asked for later.
    fn keep(&self, question: &Arc<Question>, answer: &CachedResult) {
        let _one = lock(&self.keeping);
        let held = self.held.get(question);
        // What cannot be kept in step takes the place of what was held before, which must not follow it once changes are heard again
        // that are still behind it.
        let is_worth_it = answer.trusted && answer.is_worth_keeping(self.common.now());
        let replaces = is_worth_it || (!answer.trusted && held.is_some());
        let is_newer = held.as_ref().is_none_or(|held| held.as_of <= answer.as_of);
        if replaces && is_newer {
            self.held.insert(question.clone(), answer.clone());
            self.sweep();
        } else if held.is_some() && is_newer {
            // Somebody is shown what is not worth keeping. What is older must not follow it, whatever others take.
            self.held.invalidate(question);
        }
    }

    /// Lets results go that are good for nothing any more, whenever as many have come as were left the last time.
    fn sweep(&self) {
        const SWEEP_MIN: u64 = 64;
        if self.come_since_sweep.fetch_add(1, Ordering::Relaxed) < self.left_by_sweep.load(Ordering::Relaxed) {
            return;
        }
        self.come_since_sweep.store(0, Ordering::Relaxed);
        let now = self.common.now();
        for (question, _) in self.held.iter().filter(|(_, answer)| !answer.is_worth_keeping(now)) {
            self.held.invalidate(&*question);
        }
        self.left_by_sweep.store(self.count().max(SWEEP_MIN), Ordering::Relaxed);
    }

    /// The load that this caller waits for from now on.
    fn flight<L>(
        self: &Arc<Results>,
        question: &Arc<Question>,
        terms: Terms,
        load: impl FnOnce(Vec<NextExpiry>) -> L + Send + 'static,
    ) -> QueryFlight
    where
        L: Future<Output = Result<Loaded, Error>> + Send + 'static,
    {
        let (now, timeout) = (self.common.now(), self.common.freshness.timeout());
        let oldest = now.before(terms.max_age.map_or(timeout, |max| max.min(timeout)));
        let (since, refreshed) = (self.common.freshness.is_live(now).then_some(oldest), now.before(terms.min_refresh));
        let new = |turn: Arc<AsyncMutex<()>>| {
            let flying = Flying { question: question.clone(), began: Arc::default(), turn: turn.clone() };
            let (results, began) = (self.clone(), flying.began.clone());
            let run = self.store.here(async move { results.run(flying, terms, load).await });
            let run = AssertUnwindSafe(run).catch_unwind();
            let answer = run.map(|ended| ended.unwrap_or_else(|_| Err(Error::new(ErrorKind::Value, PANICKED))));
            Listed { flight: QueryFlight { answer: answer.boxed().shared(), began, turn }, waiting: 0 }
        };
        let mut flights = lock(&self.flights);
        let listed = match flights.entry(question.clone()) {
            Entry::Occupied(listed) if listed.get().flight.may_be_joined(since, refreshed) => listed.into_mut(),
            Entry::Occupied(listed) => {
                let listed = listed.into_mut();
                *listed = new(listed.flight.turn.clone());
                listed
            }
            Entry::Vacant(vacant) => vacant.insert(new(Arc::default())),
        };
        listed.waiting += 1;
        listed.flight.clone()
    }
}
