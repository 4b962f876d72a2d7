//! Cached queries: what users hold. Results are dropped when a row on which they depend changes.

use crate::client::{Client, Shared};
use crate::codec::layout::Layout;
use crate::codec::row;
use crate::config::StaleService;
use crate::error::{Error, ErrorKind};
use crate::pg::{NextExpiry, Selected};
use crate::results::{CachedResult, Dependency, Loaded, Question, Rows, TagIs, TagValue};
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

impl Client {
    /// A query whose result is cached until a row on which it depends changes: `T` is a struct whose members are columns of
    /// the result. `sql` is one SELECT. What it depends on is found out by the server; [`Query::explain`] shows it.
    ///
    /// ```no_run
    /// # #[derive(serde::Deserialize)] struct Post { id: i64, body: String }
    /// # async fn example(client: cache_sync::Client) -> Result<(), cache_sync::Error> {
    /// let newest = client
    ///     .query::<Post>("SELECT id, body FROM post WHERE author = $1 ORDER BY id DESC LIMIT 20")
    ///     .bind(7_i64)
    ///     .fetch()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn query<T: DeserializeOwned + Send + Sync + 'static>(&self, sql: &str) -> Query<T> {
        Query::new(self.shared.clone(), sql)
    }
}

/// A query whose result is cached. Made with [`Client::query`](crate::Client::query).
///
/// The server says what it reads, also in views and policies: attached tables, and the rows of them that matter where a tag or the key
/// is compared with a parameter or a constant (a parameter of another type than integers, texts, bytes, uuids, `bool`, or lists of them
/// counts as any value). What nobody tells of (tables that are not attached, functions that may read the clock
/// or a table) is an error. It shows what is committed: writes of this client that Postgres does not have yet are not in it.
#[must_use]
pub struct Query<T> {
    shared: Arc<Shared>,
    question: Question,
    rows: PhantomData<fn() -> T>,
}

/// A query's rows with what is known about them.
#[derive(Debug)]
#[non_exhaustive]
pub struct QueryRead<T> {
    /// The rows, in the order in which the query gives them.
    pub rows: Arc<Vec<T>>,
    /// `None` while the feed is heard. Else the rows could not be confirmed, and have been in doubt for so long.
    pub stale_for: Option<Duration>,
}

/// What a query reads, in words: see [`Query::explain`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryReads {
    /// The tables, each with the rows that matter, such as `public.post where author is $1`.
    pub depends_on: Vec<String>,
    /// What nobody would tell of, each with a hint. With any of it a query is refused, unless it is said to be complete.
    pub refused: Vec<String>,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Query<T> {
    pub(crate) fn new(shared: Arc<Shared>, sql: &str) -> Query<T> {
        let rows = TypeId::of::<T>();
        let question =
            Question { sql: sql.to_owned(), parameters: Vec::new(), depends_on: Vec::new(), is_complete: false, rows };
        Query { shared, question, rows: PhantomData }
    }

    /// The value of the next parameter (`$1`, `$2`, ...). Values that are equal must be equal to Postgres, too: they get the
    /// same result.
    pub fn bind(mut self, value: impl ToSql + Hash + Eq + Send + Sync + 'static) -> Query<T> {
        self.question.parameters.push(Box::new(value));
        self
    }

    /// The result is dropped when a row of the table changes that has this value in the column, or had it before. The column
    /// must be one of the table's tags (`attach(..., tags => ...)`, `set_tags`). Who says this says it of all tables: the server
    /// finds what is pinned by itself, but knows less of what a condition means.
    pub fn depends_on(mut self, table: &str, column: &str, value: impl Into<TagValue>) -> Query<T> {
        let tag = TagIs { name: column.to_owned(), value: value.into() };
        self.question.depends_on.push(Dependency { table: table.to_owned(), rows: Rows::Tag(tag) });
        self
    }

    /// The result is dropped when any row of the table changes.
    pub fn depends_on_table(mut self, table: &str) -> Query<T> {
        self.question.depends_on.push(Dependency { table: table.to_owned(), rows: Rows::All });
        self
    }

    /// Takes what the query was said to depend on for all that there is, without asking the server: whatever else it reads may
    /// change without the result being dropped.
    pub fn assume_complete(mut self) -> Query<T> {
        self.question.is_complete = true;
        self
    }

    /// What the server says that the query reads. Nothing is run.
    ///
    /// # Errors
    /// When there is something wrong with the query, or Postgres cannot be reached.
    pub async fn explain(&self) -> Result<QueryReads, Error> {
        self.shared.common.check_open()?;
        let (depends_on, refused) = self.shared.results.explain(&self.question.sql).await?;
        Ok(QueryReads { depends_on, refused })
    }

    /// The rows, from memory if they are held, else loaded; of several callers at a time one asks Postgres.
    ///
    /// # Errors
    /// [`Error::is_unavailable`] when they must be loaded and Postgres cannot be reached. Else the message says what is wrong
    /// with the query, its types, or a tag; or that it reads what it was not said to depend on, or what nobody tells of.
    pub async fn fetch(self) -> Result<Arc<Vec<T>>, Error> {
        self.read().await.map(|read| read.rows)
    }

    /// As [`Query::fetch`], and says whether the rows could be confirmed.
    ///
    /// # Errors
    /// As [`Query::fetch`].
    pub async fn read(self) -> Result<QueryRead<T>, Error> {
        let Query { shared, question, .. } = self;
        if question.is_complete && question.depends_on.is_empty() {
            let message =
                "a query that is said to be complete must depend on something: depends_on, or depends_on_table";
            return Err(Error::new(ErrorKind::Config, message));
        }
        shared.common.check_open()?;
        if let Some(answer) = shared.results.hit(&question) {
            return fresh(answer);
        }
        let question = Arc::new(question);
        let stale = || {
            let (answer, doubt) = shared.results.stale(&question)?;
            Some(fresh(answer).map(|read| QueryRead { stale_for: Some(doubt), ..read }))
        };
        let (breaker, asked) = (&shared.store.breaker, Instant::now());
        let stale_service = shared.config.stale_service();
        if stale_service.is_some()
            && breaker.is_away()
            && !breaker.may_look()
            && let Some(stale) = stale()
        {
            return stale;
        }
        let mut load = Box::pin(load::<T>(shared.clone(), question.clone()));
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
                    if let Some(going_on) = GoingOn::begin(&shared, &question) {
                        shared.supervisor.runtime().spawn(async move {
                            drop(load.await);
                            drop(going_on);
                        });
                    }
                    return stale;
                }
                load.await
            }
        };
        match answer {
            Ok(answer) => fresh(answer),
            Err(error) if error.is_unavailable() => stale().ok_or(error)?,
            Err(error) => Err(error),
        }
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
) -> Result<CachedResult, Error> {
    let select = async |expiries: Vec<NextExpiry>| {
        let parameters: Vec<_> = question.parameters.iter().map(|parameter| parameter.as_sql()).collect();
        let misfit = |error| Error::caused(ErrorKind::Value, "a row of a query does not fit its type", error);
        let read = |layout: &Layout, row: &Row| row::decode::<T>(layout, row, 0).map_err(misfit);
        let Selected { epoch, rows, bytes, good_for } =
            shared.store.select(&question.sql, &parameters, &expiries, read).await?;
        let bytes = bytes + rows.len() * size_of::<T>();
        Ok(Loaded { epoch, rows: Arc::new(rows), bytes, good_for })
    };
    shared.results.load(&question, select).await
}

fn fresh<T: Send + Sync + 'static>(answer: CachedResult) -> Result<QueryRead<T>, Error> {
    let rows = answer.rows.downcast::<Vec<T>>();
    let rows = rows.map_err(|_| Error::new(ErrorKind::Value, "a result is of another type than was asked for"))?;
    Ok(QueryRead { rows, stale_for: None })
}
