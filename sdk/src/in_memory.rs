//! A database in memory, for tests of services: caches, clients and their rules as with Postgres, without one.
//!
//! It stands behind the same trait as Postgres does. Merging is done by the rules that the extension uses, with stamps and versions; batches are
//! applied once each; a feed tells all clients of what anybody writes; refused writes become dead letters. So what a service sees of
//! its caches is what it would see with Postgres, and a suite of tests runs against both to keep it so.
//!
//! ```
//! use cache_sync::in_memory::Table;
//! use cache_sync::{Cache, Client, Patch};
//! use serde::{Deserialize, Serialize};
//! use serde_json::json;
//!
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
//! struct Player {
//!     name: String,
//!     gold: i64,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), cache_sync::Error> {
//! let database = Client::in_memory()
//!     .table(Table::new("player").key("id", "bigint").column("name", "text").column("gold", "bigint").rule(json!("add")))
//!     .start()?;
//! let client = database.client().connect().await?;
//! let players: Cache<i64, Player> = client.cache("player").open().await?;
//!
//! players.put(7, Player { name: "Ann".into(), gold: 5 }).await?.written().await?;
//! players.patch(&7, Patch::new().add("gold", 10)).await?.written().await?;
//! assert_eq!(database.row("player", json!({"id": 7}))?, Some(json!({"id": 7, "name": "Ann", "gold": 15})));
//!
//! // As if another program had written by SQL.
//! database.update("player", json!({"id": 7}), json!({"gold": 1}))?;
//! client.catch_up().await?;
//! assert_eq!(players.get(&7).await?.unwrap().gold, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What it is not
//!
//! It knows no SQL: a query is answered by what [`InMemory::answer`] is told, and depends on every row of the tables that are named there.
//! It has no transactions, triggers, roles, foreign keys, generated columns, types or functions of the user's, and keeps dates and times as
//! they were written. What has expired counts as removed at once. How many parameters a query takes is not checked. `max` and `min` compare numbers as numbers and texts by their bytes. The real thing is not far: the tests
//! that must see SQL can start a throw-away Postgres.
//!
//! It works where tokio's time is paused, too; when rows expire, and how long what is held counts as fresh, goes by the machine's clock.
//!
//! ```text
//! table     as a user describes it         types     of columns, and which values fit      moments  dates and times as texts
//! state     all that there is              rows      as they are kept and shown            merge    what a patch makes of a row
//! batch     each is applied once           feed      what was committed                    answers  to queries
//! database  what a client asks             faults    what goes wrong when a test says so
//! inner     what handles and clients share           sql       what another program writes
//! ```

mod answers;
mod batch;
mod database;
mod faults;
mod feed;
mod inner;
mod merge;
mod moments;
mod rows;
mod sql;
mod state;
mod table;
mod types;

pub use answers::Asked;
pub use state::DeadLetter;
pub use table::Table;

use crate::common::lock::lock;
use crate::error::{Error, ErrorKind};
use crate::store::Database;
use faults::Faults;
use inner::Inner;
use serde_json::Value;
use sql::members;
use state::{State, Stored};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What a database in memory is to have: from [`Client::in_memory`](crate::Client::in_memory).
#[derive(Debug, Default)]
#[must_use]
pub struct Builder {
    tables: Vec<Table>,
}

impl Builder {
    /// Has this table, attached and empty.
    pub fn table(mut self, table: Table) -> Builder {
        self.tables.push(table);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// A table is not in order: the message says which, and what is wrong.
    pub fn start(self) -> Result<InMemory, Error> {
        let mut tables: Vec<Stored> = Vec::new();
        for (number, table) in (1..).zip(self.tables) {
            if tables.iter().any(|stored| stored.table.meta.name == table.name) {
                return Err(Error::new(ErrorKind::Config, format!("there are two tables {} in memory", table.name)));
            }
            tables.push(Stored { table: table.defined(number)?, rows: BTreeMap::new() });
        }
        let state = Mutex::new(State::new(tables));
        let (news, answers, faults) = (watch::Sender::default(), Mutex::default(), Faults::default());
        Ok(InMemory(Arc::new(Inner { state, news, answers, faults })))
    }
}

/// A database in memory. Clones are handles on the same one.
///
/// Its own methods are what another program does by SQL, and what goes wrong.
#[derive(Clone)]
pub struct InMemory(Arc<Inner>);

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory").finish_non_exhaustive()
    }
}

impl InMemory {
    pub(crate) fn link(&self) -> Arc<dyn Database> {
        Arc::new(database::Link::new(self.0.clone()))
    }

    /// Inserts a row, given as an object by its columns' names, as plain SQL would: what is left out has its default.
    ///
    /// # Errors
    /// As Postgres would refuse it, with the SQLSTATE in [`Error::sqlstate`]: 23505 where the key is there, 22P02 and others where a
    /// value does not fit, 42P01 and 42703 where there is no such table or column.
    pub fn insert(&self, table: &str, row: Value) -> Result<(), Error> {
        self.write(table, |state, table| state.insert(table, &members(&row)?))
    }

    /// Changes columns of the row with this key. `false`: there is none.
    ///
    /// # Errors
    /// As [`InMemory::insert`].
    pub fn update(&self, table: &str, key: Value, changes: Value) -> Result<bool, Error> {
        self.write(table, |state, table| {
            let key = state.key(table, &members(&key)?)?;
            state.update(table, &key, &members(&changes)?)
        })
    }

    /// Deletes the row with this key. `false`: there was none.
    ///
    /// # Errors
    /// As [`InMemory::insert`].
    pub fn delete(&self, table: &str, key: Value) -> Result<bool, Error> {
        self.write(table, |state, table| {
            let key = state.key(table, &members(&key)?)?;
            Ok(state.delete(table, &key))
        })
    }

    /// Deletes all rows of the table.
    ///
    /// # Errors
    /// There is no such table.
    pub fn truncate(&self, table: &str) -> Result<(), Error> {
        self.write(table, |state, table| {
            state.tables[table].rows.clear();
            let id = state.tables[table].table.meta.table_id;
            state.tell_flush(id);
            Ok(())
        })
    }

    /// The row with this key as JSON; `None`: there is none, or it has expired.
    ///
    /// # Errors
    /// There is no such table or column, or the key is none.
    pub fn row(&self, table: &str, key: Value) -> Result<Option<Value>, Error> {
        let state = lock(&self.0.state);
        let table = state.table(table)?;
        let key = state.key(table, &members(&key)?)?;
        Ok(state.row(table, &key).map(|row| row.to_json(&state.tables[table].table)))
    }

    /// All rows of the table that have not expired, in the order of their keys' texts.
    ///
    /// # Errors
    /// There is no such table.
    pub fn rows(&self, table: &str) -> Result<Vec<Value>, Error> {
        let state = lock(&self.0.state);
        let name = state.tables[state.table(table)?].table.meta.name.clone();
        Ok(state.all_rows().remove(&name).unwrap_or_default())
    }

    /// The writes that were refused, the oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        lock(&self.0.state).letters.clone()
    }

    /// Says what queries with exactly this text are answered, computed from the rows that there are then, each time that one is loaded: a list of
    /// objects by columns' names, of arrays in the order of the columns, or of values where there is one column. The result depends on all
    /// rows of the tables that are named. Said again, it ends what is held of the answer before: the tables count as changed.
    pub fn answer(
        &self,
        sql: &str,
        tables: &[&str],
        answer: impl Fn(&Asked<'_>) -> Vec<Value> + Send + Sync + 'static,
    ) {
        if lock(&self.0.answers).set(sql, tables, answer) {
            let mut state = lock(&self.0.state);
            let places: Vec<_> = tables.iter().filter_map(|table| state.named(table)).collect();
            for place in places {
                let id = state.tables[place].table.meta.table_id;
                state.tell_flush(id);
            }
            drop(state);
            self.0.tell();
        }
    }

    /// While it lasts nothing answers, and connections are broken, as when Postgres is away.
    pub fn set_outage(&self, lasts: bool) {
        self.0.faults.outage.send_replace(lasts);
        self.0.faults.break_connections();
    }

    /// While it lasts the feed says nothing to anybody, though its connections stand; all else goes on.
    pub fn set_deaf(&self, lasts: bool) {
        self.0.faults.deaf.send_replace(lasts);
    }

    /// The answers to the next `count` batches get lost after these were applied.
    pub fn lose_replies(&self, count: u32) {
        self.0.faults.lose_replies(count);
    }

    /// Each question and batch takes so much longer. Zero: no more.
    pub fn set_slow(&self, time: Duration) {
        self.0.faults.set_slow(time);
    }

    /// While it lasts all batches are refused as a whole (SQLSTATE 42501), as where a role has lost its rights.
    pub fn set_refusing_writes(&self, lasts: bool) {
        self.0.faults.refuse_writes(lasts);
    }

    /// As if it had crashed and come back at once: rows stay, feeds begin anew and cannot tell what they may have missed.
    pub fn restart(&self) {
        lock(&self.0.state).restart();
        self.0.faults.break_connections();
    }

    /// Applies the next batch of a session of its own, as it travels: for tests that compare what becomes of it with what Postgres says.
    ///
    /// # Errors
    /// The batch is refused as a whole.
    #[cfg(feature = "test-faults")]
    pub fn apply(&self, table: &str, sequence: i64, shapes: &str, rows: &[String]) -> Result<Vec<u8>, Error> {
        use crate::store::Sending;
        use cache_sync_core::number::{Fence, Sequence};
        self.write(table, |state, table| {
            let (table, session) = (state.tables[table].table.meta.relation, uuid::Uuid::nil());
            let fence = if sequence == 1 { state.open_session(table, session).fence } else { Fence(1) };
            let sequence = Sequence(sequence);
            let batch = Sending { table, session, fence, sequence, shapes, rows, is_suspicious: false };
            state.apply(&batch).map(|applied| applied.outcomes)
        })
    }

    fn write<T>(&self, table: &str, write: impl FnOnce(&mut State, usize) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = lock(&self.0.state);
        let table = state.table(table)?;
        let written = write(&mut state, table);
        drop(state);
        self.0.tell();
        written
    }
}
