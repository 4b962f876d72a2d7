//! Cached queries: what users hold. Results are dropped when a row on which they depend changes.
//!
//! ```text
//! prepared  a query that is asked again and again        run  how a question is answered
//! watch     a query whose rows are shown as they change
//! ```

mod prepared;
mod run;
mod watch;

pub use prepared::{Float, Parameters, PreparedQuery};
pub use run::{QueryRead, QueryReads};

use crate::client::{Client, Shared};
use crate::error::Error;
use crate::results::{Bound, Dependency, Question, Rows, Statement, TagIs, TagValue, Terms};
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::types::ToSql;

impl Client {
    /// A query whose result is cached until a row on which it depends changes: `T` is a struct whose members are columns of
    /// the result, a tuple of as many values as it has columns, or, where it has one, the value. `sql` is one SELECT. What it depends on is found out by the server; [`Query::explain`] shows it.
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

    /// A query that is asked again and again with other parameters: nothing is allocated where its result is held.
    ///
    /// ```no_run
    /// # async fn example(client: cache_sync::Client) -> Result<(), cache_sync::Error> {
    /// let unread = client.prepare_query::<i64>("SELECT count(*) FROM message WHERE receiver = $1 AND NOT is_read");
    /// let count: i64 = unread.fetch((7_i64,)).await?[0];
    /// # Ok(())
    /// # }
    /// ```
    pub fn prepare_query<T: DeserializeOwned + Send + Sync + 'static>(&self, sql: &str) -> PreparedQuery<T> {
        self.query(sql).prepare()
    }
}

/// A query whose result is cached. Made with [`Client::query`](crate::Client::query).
///
/// The server says what it reads, also in views and policies: attached tables, and the rows of them that matter where a tag or the key
/// is compared with a parameter or a constant (a parameter of another type than integers, texts, bytes, uuids, `bool`, or lists of them
/// counts as any value). What nobody tells of (tables that are not attached, functions that may read the clock
/// or a table) is an error. It shows what SQL shows: what is committed, without writes of this client that Postgres does not have yet, and with rows that
/// have expired until they are deleted, unless a condition leaves them out.
#[must_use]
pub struct Query<T> {
    shared: Arc<Shared>,
    statement: Statement,
    parameters: Vec<Box<dyn Bound>>,
    terms: Terms,
    rows: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Query<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("sql", &self.statement.sql).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Query<T> {
    pub(crate) fn new(shared: Arc<Shared>, sql: &str) -> Query<T> {
        let rows = TypeId::of::<T>();
        let statement = Statement { sql: sql.to_owned(), depends_on: Vec::new(), is_complete: false, rows };
        Query { shared, statement, parameters: Vec::new(), terms: Terms::default(), rows: PhantomData }
    }

    /// The value of the next parameter (`$1`, `$2`, ...). Values that are equal must be equal to Postgres, too: they get the
    /// same result.
    ///
    /// A parameter in place of `now()` makes each moment another question. Bind one that seldom changes, such as the minute that has begun, and ask more
    /// exactly of the rows that come. Dates and times are parameters with the features `chrono`, `jiff` and `time`.
    pub fn bind(mut self, value: impl ToSql + Hash + Eq + Send + Sync + 'static) -> Query<T> {
        self.parameters.push(Box::new(value));
        self
    }

    /// The result is dropped when a row of the table changes that has this value in the column, or had it before. The column
    /// must be one of the table's tags (`attach(..., tags => ...)`, `set_tags`). Who says this says it of all tables: the server
    /// finds what is pinned by itself, but knows less of what a condition means.
    pub fn depends_on(mut self, table: &str, column: &str, value: impl Into<TagValue>) -> Query<T> {
        let tag = TagIs { name: column.to_owned(), value: value.into() };
        self.statement.depends_on.push(Dependency { table: table.to_owned(), rows: Rows::Tag(tag) });
        self
    }

    /// The result is dropped when any row of the table changes.
    pub fn depends_on_table(mut self, table: &str) -> Query<T> {
        self.statement.depends_on.push(Dependency { table: table.to_owned(), rows: Rows::All });
        self
    }

    /// Takes what the query was said to depend on for all that there is, without asking the server: whatever else it reads may
    /// change without the result being dropped.
    pub fn assume_complete(mut self) -> Query<T> {
        self.statement.is_complete = true;
        self
    }

    /// What the server says that the query reads. Nothing is run.
    ///
    /// # Errors
    /// When there is something wrong with the query, or Postgres cannot be reached.
    pub async fn explain(&self) -> Result<QueryReads, Error> {
        run::explain(&self.shared, &self.statement).await
    }

    /// No result that is older is taken, though nothing has changed on which it depends: it is loaded anew. Default: none.
    pub fn max_age(mut self, max: Duration) -> Query<T> {
        self.terms.max_age = Some(max);
        self
    }

    /// A result is loaded at most so often: as long as it is not older it is taken although rows have changed, and says so
    /// ([`QueryRead::stale_for`]). For results whose rows change all the time, such as leaderboards. Default: nothing, so that every change
    /// counts at once. A result is not kept past the moment at which one of its rows expires,
    /// nor past a gap in the feed, or an ALTER of its tables.
    pub fn min_refresh(mut self, interval: Duration) -> Query<T> {
        self.terms.min_refresh = interval;
        self
    }

    /// Once its result has changed it is loaded again in the background, within about 25 ms, if anybody has read it since the last load: the next
    /// reader need not wait. With [`Query::min_refresh`], at most so often. Up to 1,000 results of a client are looked after so, two are
    /// loaded at a time. Default: off.
    pub fn refresh_on_change(mut self, on: bool) -> Query<T> {
        self.terms.refresh_on_change = on;
        self
    }

    /// A handle for asking it again and again with other parameters. What was bound is given up.
    pub fn prepare(self) -> PreparedQuery<T> {
        PreparedQuery::new(self.shared, self.statement, self.terms)
    }

    /// The rows, from memory if they are held, else loaded; of several callers at a time one asks Postgres.
    ///
    /// # Errors
    /// [`Error::is_unavailable`] when they must be loaded and Postgres cannot be reached. Else the message says what is wrong
    /// with the query, its types, or a tag; or that it reads what it was not said to depend on, or what nobody tells of.
    pub async fn fetch(self) -> Result<Arc<Vec<T>>, Error> {
        self.read().await.map(|read| read.rows)
    }

    /// As [`Query::fetch`], and says how old the rows are, and whether they could be confirmed.
    ///
    /// # Errors
    /// As [`Query::fetch`].
    pub async fn read(self) -> Result<QueryRead<T>, Error> {
        let Query { shared, statement, parameters, terms, .. } = self;
        run::check(&shared, &statement)?;
        let question = Question { statement: Arc::new(statement), parameters };
        if let Some(read) = run::hit(&shared, &question, terms) {
            return read;
        }
        run::miss(shared, Arc::new(question), terms).await
    }
}
