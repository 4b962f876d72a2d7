//! Everything that is said to Postgres, and every SQL text; `connection` makes the connections.

mod connection;
mod load;
mod sessions;

use crate::config::ClientConfig;
use crate::error::{Error, Kind, Step};
use crate::key::Key;
use crate::layout::{Layout, TableMeta, quote};
use cache_sync_core::number::{Epoch, Fence, Position, Sequence};
pub(crate) use connection::{Connector, FEED, Messages, SESSION, pool};
use deadpool_postgres::Pool;
pub(crate) use load::{LOAD_COLUMNS, LoadState, LoadStatement, Loading};
pub(crate) use sessions::SessionCheck;
use std::future::Future;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// The SQLSTATE of a prepared statement whose table has changed its columns.
const CACHED_PLAN_CHANGED: &str = "0A000";

/// The SQLSTATE of a server without a feed in shared memory: older than PostgreSQL 17, and it has not preloaded the extension's
/// library.
pub(crate) const NOT_PRELOADED: &str = "CS006";

pub(crate) struct Store {
    pool: Pool,
    connector: Connector,
    postgres: tokio_postgres::Config,
    sessions: SessionCheck,
    connect_timeout: Duration,
    query_timeout: Duration,
}

/// The answer to a batch.
pub(crate) struct Applied {
    pub(crate) epoch: Epoch,
    pub(crate) outcomes: Vec<u8>,
}

impl Store {
    pub(crate) fn new(config: &ClientConfig, connector: Connector) -> Result<Store, Error> {
        let postgres = config.postgres.clone();
        let pool = pool(config, &postgres, &connector, "pool")?;
        Ok(Store {
            sessions: SessionCheck::new(&pool, config, &postgres, (&connector, "pool"))?,
            pool,
            connector,
            postgres,
            connect_timeout: config.connect_timeout,
            query_timeout: config.query_timeout,
        })
    }

    /// Connects outside the pool. `settings` is what is set first.
    pub(crate) async fn connect(
        &self,
        purpose: &str,
        settings: &str,
    ) -> Result<(tokio_postgres::Client, Messages), Error> {
        connection::connect(&self.connector, &self.postgres, self.connect_timeout, (purpose, settings)).await
    }

    /// Checks that each connection of the pool is one of the server's.
    pub(crate) async fn check_sessions(&self) -> Result<(), Error> {
        self.sessions.run(self.connect_timeout).await
    }

    /// Checks that library, script and SDK fit together.
    pub(crate) async fn check_versions(&self) -> Result<(), Error> {
        let ours = cache_sync_core::PROTOCOL;
        let rows = self
            .query(
                "reading the extension's version",
                "SELECT library, script, protocol, pg_catalog.pg_is_in_recovery() FROM cache_sync.versions()",
                &[],
            )
            .await;
        let rows = rows.map_err(|error| match error.sqlstate() {
            Some("3F000" | "42883") => Error::new(
                Kind::Mismatch,
                "this database lacks the extension cache_sync; run CREATE EXTENSION cache_sync",
            ),
            _ => error,
        })?;
        let row = &rows[0];
        let (library, script, theirs): (String, String, i32) = (row.get(0), row.get(1), row.get(2));
        if row.get(3) {
            let message = "the server is a standby, which has no feed and takes no writes; connect to the primary";
            return Err(Error::new(Kind::Unavailable, message));
        }
        if library != script {
            let message = format!(
                "the extension's library is {library}, its objects in this database are {script}; run ALTER EXTENSION cache_sync UPDATE"
            );
            return Err(Error::new(Kind::Mismatch, message));
        }
        match theirs.cmp(&ours) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => {
                let message = format!(
                    "the extension speaks protocol {theirs}, this SDK {ours}; upgrade the extension on the server"
                );
                Err(Error::new(Kind::Mismatch, message))
            }
            std::cmp::Ordering::Greater => {
                let message = format!("the extension speaks protocol {theirs}, this SDK {ours}; upgrade the SDK");
                Err(Error::new(Kind::Mismatch, message))
            }
        }
    }

    /// The table's oid, and what the extension says of it.
    pub(crate) async fn describe(&self, table: &str) -> Result<(u32, TableMeta), Error> {
        let step = "describing the table";
        let text = "SELECT $1::pg_catalog.text::pg_catalog.regclass::pg_catalog.oid, \
                    cache_sync.describe($1::pg_catalog.text::pg_catalog.regclass)::pg_catalog.text";
        let rows = self.query(step, text, &[&table]).await?;
        let json: String = rows[0].get(1);
        let meta = serde_json::from_str(&json).map_err(|error| {
            Error::caused(Kind::Mismatch, "the extension describes the table in a way unknown here", error)
        })?;
        Ok((rows[0].get(0), meta))
    }

    /// Looks up the types of the layout's columns.
    pub(crate) async fn resolve(&self, meta: &TableMeta, layout: &mut Layout) -> Result<(), Error> {
        let step = "looking up the columns' types";
        let text = format!("SELECT {} FROM {}.{} AS t", layout.probe_list("t"), quote(&meta.schema), quote(&meta.name));
        within(step, self.query_timeout, async {
            let client = self.pool.get().await.map_err(|error| pool_error(step, error))?;
            let statement = client.prepare(&text).await.map_err(|error| Error::query(step, error))?;
            layout.resolve(statement.columns(), 0);
            Ok(())
        })
        .await
    }

    /// The head of the feed as the pool's server tells it.
    pub(crate) async fn feed_head(&self) -> Result<(Epoch, Position), Error> {
        let rows = self
            .query("reading the feed's head", "SELECT epoch, feed_position FROM cache_sync.feed_head()", &[])
            .await?;
        let (epoch, position): (i64, i64) = (rows[0].get(0), rows[0].get(1));
        Ok((Epoch(epoch as u64), Position(position as u64)))
    }

    /// Loads rows by key, in one autocommitted statement.
    pub(crate) async fn load<K: Key>(
        &self,
        statement: &LoadStatement,
        loading: &Loading<'_, K>,
    ) -> Result<(LoadState, Vec<Row>), Error> {
        let (_, loaded) = within(load::STEP, self.query_timeout, loading.run(&self.pool, statement, None)).await?;
        Ok(loaded)
    }

    /// Asks for one row.
    pub(crate) async fn query_one(&self, step: Step, text: &str) -> Result<Row, Error> {
        let rows = self.query(step, text, &[]).await?;
        rows.into_iter().next().ok_or_else(|| Error::new(Kind::Mismatch, format!("{step}: no answer")))
    }

    /// Runs a query of the user's in one autocommitted statement. The epoch is that of the server that ran it: it is asked over
    /// the same connection, ahead of the query and without waiting for the answer.
    pub(crate) async fn select(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<(u64, Layout, Vec<Row>), Error> {
        const STEP: Step = "running a query";
        within(STEP, self.query_timeout, async {
            let failed = |error| Error::query(STEP, error);
            let client = self.pool.get().await.map_err(|error| pool_error(STEP, error))?;
            let epoch = client.prepare_cached("SELECT cache_sync.epoch()").await.map_err(failed)?;
            for last_try in [false, true] {
                let mut statement = client.prepare_cached(sql).await.map_err(failed)?;
                let layout = Layout::of_statement(statement.columns());
                if statement.params().len() != params.len() {
                    let (takes, bound) = (statement.params().len(), params.len());
                    let message = format!("the query takes {takes} parameters, but {bound} are bound");
                    return Err(Error::new(Kind::Config, message));
                }
                if !layout.is_binary() {
                    let text = format!("SELECT {} FROM ({sql}) AS q", layout.select_list("q"));
                    statement = client.prepare_cached(&text).await.map_err(failed)?;
                }
                let (epoch, rows) = tokio::join!(client.query_one(&epoch, &[]), client.query(&statement, params));
                match rows {
                    Err(error) if !last_try && error.code().is_some_and(|code| code.code() == CACHED_PLAN_CHANGED) => {
                        client.statement_cache.clear();
                    }
                    rows => {
                        let epoch: i64 = epoch.map_err(failed)?.get(0);
                        let rows = rows.map_err(|error| match is_parameter(&error) {
                            true => {
                                Error::caused(Kind::Value, "a parameter is not of the type that the query takes", error)
                            }
                            false => failed(error),
                        });
                        return Ok((epoch as u64, layout, rows?));
                    }
                }
            }
            Err(Error::new(Kind::Unavailable, "running a query: its tables change too often"))
        })
        .await
    }

    async fn query(&self, step: Step, text: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        within(step, self.query_timeout, async {
            let client = self.pool.get().await.map_err(|error| pool_error(step, error))?;
            for last_try in [false, true] {
                let statement = client.prepare_cached(text).await.map_err(|error| Error::query(step, error))?;
                match client.query(&statement, params).await {
                    Err(error) if !last_try && error.code().is_some_and(|code| code.code() == CACHED_PLAN_CHANGED) => {
                        client.statement_cache.clear();
                    }
                    result => return result.map_err(|error| Error::query(step, error)),
                }
            }
            Ok(Vec::new())
        })
        .await
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}

/// Opens (or opens again) the client's line of batches to a table.
pub(crate) async fn open_session(
    client: &tokio_postgres::Client,
    table: u32,
    session: Uuid,
) -> Result<(Fence, Sequence), Error> {
    let text = "SELECT fence, last_seq FROM cache_sync.open_session($1::pg_catalog.oid::pg_catalog.regclass, $2)";
    let row =
        client.query_one(text, &[&table, &session]).await.map_err(|error| Error::query("opening a session", error))?;
    Ok((Fence(row.get(0)), Sequence(row.get(1))))
}

/// Sends a batch. The answer is only believed once the server is ready for the next query: the commit comes after the
/// command's completion.
pub(crate) async fn apply(
    client: &tokio_postgres::Client,
    statement: &tokio_postgres::Statement,
    table: u32,
    session: Uuid,
    fence: Fence,
    sequence: Sequence,
    (shapes, rows): (&str, &[String]),
) -> Result<Applied, Error> {
    let params: [&(dyn ToSql + Sync); 6] = [&table, &session, &fence.0, &sequence.0, &shapes, &rows];
    let row = client.query_one(statement, &params).await.map_err(|error| Error::query("writing a batch", error))?;
    let epoch: i64 = row.get(0);
    Ok(Applied { epoch: Epoch(epoch as u64), outcomes: row.get(2) })
}

/// The statement for [`apply`].
pub(crate) const APPLY: &str = "SELECT epoch, last_seq, outcomes FROM cache_sync.apply($1::pg_catalog.oid::pg_catalog.regclass, \
     $2, $3, $4, $5::pg_catalog.text::pg_catalog.jsonb, $6::pg_catalog.text[])";

/// The statement that turns a connection into a feed.
pub(crate) fn stream_statement(tables: &[i32], since: Option<(Epoch, Position)>) -> String {
    let tables: Vec<_> = tables.iter().map(i32::to_string).collect();
    let (epoch, position) = match since {
        Some((epoch, position)) => ((epoch.0 as i64).to_string(), (position.0 as i64).to_string()),
        None => ("NULL".to_owned(), "NULL".to_owned()),
    };
    format!("CALL cache_sync.stream('{{{}}}'::int[], {epoch}, {position})", tables.join(","))
}

/// Turns a connection into a listener of a server without a feed in shared memory.
pub(crate) const LISTEN: &str = "LISTEN cache_sync";

/// Whether the tables may be read, and the server's epoch and clock. The answer comes behind what was notified before.
pub(crate) const LISTEN_STATE: &str = "SELECT epoch, hlc FROM cache_sync.listen_state($1)";

/// Whether it is a parameter that could not be sent: neither the server nor the connection failed.
fn is_parameter(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    error.as_db_error().is_none() && !error.is_closed() && source.is_some_and(|source| !source.is::<std::io::Error>())
}

pub(crate) async fn within<T>(
    step: Step,
    timeout: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(Error::timeout(step, timeout)))
}

fn pool_error(step: Step, error: deadpool_postgres::PoolError) -> Error {
    match error {
        deadpool_postgres::PoolError::Backend(error) if error.as_db_error().is_some() => Error::query(step, error),
        deadpool_postgres::PoolError::Closed => Error::closed(),
        error => Error::caused(Kind::Unavailable, format!("{step}: no connection to Postgres"), error),
    }
}
