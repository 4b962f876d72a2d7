//! The statements that peers send to Postgres. All send the same, over a pool, prepared.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_sync_kit::Result;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, Row};

use crate::record::{Change, FIELD_BYTES, FIELDS, Record, Write};

/// Connections of a node: one for each request that it works on at a time.
const CONNECTIONS_MAX: usize = 16;

const TABLE: &str = "CREATE TABLE record (id bigint PRIMARY KEY, version bigint NOT NULL, counter bigint NOT NULL,
    field0 text NOT NULL, field1 text NOT NULL, field2 text NOT NULL, field3 text NOT NULL, field4 text NOT NULL,
    field5 text NOT NULL, field6 text NOT NULL, field7 text NOT NULL, field8 text NOT NULL, field9 text NOT NULL)";
const SELECT: &str =
    "SELECT version, counter, field0, field1, field2, field3, field4, field5, field6, field7, field8, field9
    FROM record WHERE id = $1";
/// By the number of the field.
const UPDATE: [&str; FIELDS] = [
    "UPDATE record SET version = greatest(version, $2), field0 = $3 WHERE id = $1",
    "UPDATE record SET version = greatest(version, $2), field1 = $3 WHERE id = $1",
    "UPDATE record SET version = greatest(version, $2), field2 = $3 WHERE id = $1",
    "UPDATE record SET version = greatest(version, $2), field3 = $3 WHERE id = $1",
    "UPDATE record SET version = greatest(version, $2), field4 = $3 WHERE id = $1",
    "UPDATE record SET version = greatest(version, $2), field5 = $3 WHERE id = $1",
    "UPDATE record SET version = greatest(version, $2), field6 = $3 WHERE id = $1",
    "UPDATE record SET version = greatest(version, $2), field7 = $3 WHERE id = $1",
    "UPDATE record SET version = greatest(version, $2), field8 = $3 WHERE id = $1",
    "UPDATE record SET version = greatest(version, $2), field9 = $3 WHERE id = $1",
];
const COUNT: &str = "UPDATE record SET version = greatest(version, $2), counter = counter + 1 WHERE id = $1";
const COUNT_FROM: &str = "UPDATE record SET version = greatest(version, $2), counter = $3 WHERE id = $1";
const INSERT: &str = "INSERT INTO record VALUES ($1, $2, 0, $3, $3, $3, $3, $3, $3, $3, $3, $3, $3)";

/// A pool of connections, and how many statements went over them.
pub struct Database {
    pool: Pool,
    statements: AtomicU64,
}

impl Database {
    /// Creates the table with so many rows, whose keys begin at 0 and whose version is 1.
    ///
    /// # Errors
    /// There is one already, or Postgres cannot be reached.
    pub async fn create(dsn: &str, rows: u64) -> Result<()> {
        let text = format!("repeat('x', {FIELD_BYTES})");
        let fill = format!(
            "INSERT INTO record SELECT n, 1, 0, {} FROM generate_series(0, {rows} - 1) n",
            [text.as_str(); FIELDS].join(", ")
        );
        let client = cache_sync_kit::connect(dsn).await?;
        Ok(client.batch_execute(&format!("{TABLE}; {fill}; ANALYZE record")).await?)
    }

    /// Connects as soon as it is asked something.
    ///
    /// # Errors
    /// It is no connection string.
    pub fn open(dsn: &str) -> Result<Database> {
        Database::with(dsn.parse()?)
    }

    /// The same; Postgres is told this name of the program.
    pub(crate) fn open_as(dsn: &str, name: &str) -> Result<Database> {
        let mut config: Config = dsn.parse()?;
        config.application_name(name);
        Database::with(config)
    }

    fn with(config: Config) -> Result<Database> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, NoTls, recycling);
        Ok(Database { pool: Pool::builder(manager).max_size(CONNECTIONS_MAX).build()?, statements: AtomicU64::new(0) })
    }

    /// The row of a key.
    ///
    /// # Errors
    /// Postgres cannot be reached.
    pub async fn read(&self, key: i64) -> Result<Option<Record>> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let client = self.pool.get().await?;
        let select = client.prepare_cached(SELECT).await?;
        client.query_opt(&select, &[&key]).await?.map(|row| record(&row)).transpose()
    }

    /// Writes and commits.
    ///
    /// # Errors
    /// Postgres cannot be reached, or refuses it, or there is no such row.
    pub async fn write(&self, write: Write<'_>) -> Result<()> {
        let Write { key, version, change } = write;
        match change {
            Change::Field { number, text } => {
                let sql = UPDATE.get(number).ok_or_else(|| format!("there is no field {number}"))?;
                self.execute(sql, &[&key, &version, &text]).await
            }
            Change::Count => self.execute(COUNT, &[&key, &version]).await,
            Change::CountFrom(read) => self.execute(COUNT_FROM, &[&key, &version, &(read.counter + 1)]).await,
            Change::Insert(text) => self.execute(INSERT, &[&key, &version, &text]).await,
        }
    }

    /// How many statements were sent so far.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    async fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<()> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(sql).await?;
        match client.execute(&statement, parameters).await? {
            1 => Ok(()),
            rows => Err(format!("{rows} rows were written where one should be").into()),
        }
    }
}

fn record(row: &Row) -> Result<Record> {
    Ok(Record {
        version: row.try_get(0)?,
        counter: row.try_get(1)?,
        field0: row.try_get(2)?,
        field1: row.try_get(3)?,
        field2: row.try_get(4)?,
        field3: row.try_get(5)?,
        field4: row.try_get(6)?,
        field5: row.try_get(7)?,
        field6: row.try_get(8)?,
        field7: row.try_get(9)?,
        field8: row.try_get(10)?,
        field9: row.try_get(11)?,
    })
}
