//! What a result depends on: as the caller says, as the server finds it, or both compared.

use super::depends::Source;
use super::question::{Question, Rows};
use super::reads::{Reads, TableRead};
use super::sources::Sources;
use crate::error::{Error, ErrorKind};
use crate::store::Store;
use std::sync::Arc;

/// So often the server is asked what a query reads, while its tables are being altered.
const TRIES_MAX: u32 = 8;
/// Of so many statements it is kept what they read.
const STATEMENTS_MAX: u64 = 1000;

/// Rows on which a result depends.
pub(super) struct Watched {
    pub(super) source: Arc<Source>,
    /// How often the table had changed as a whole when it was described last.
    pub(super) flushes: u64,
    pub(super) rows: Rows,
}

/// A table, and how often it had changed as a whole when it was described last.
type Seen = (Arc<Source>, u64);

/// What a statement reads, good until one of its tables changes as a whole.
struct Known {
    reads: Reads,
    /// Of each table.
    sources: Vec<Seen>,
}

impl Known {
    fn is_current(&self) -> bool {
        self.sources.iter().all(|(source, flushes)| source.flushes() == *flushes && !source.is_retired())
    }

    fn is_same(&self, other: &Known) -> bool {
        let is_same = |(one, other): (&Seen, &Seen)| Arc::ptr_eq(&one.0, &other.0) && one.1 == other.1;
        self.reads == other.reads && self.sources.iter().zip(&other.sources).all(is_same)
    }
}

/// What statements read.
pub(super) struct Statements {
    store: Arc<Store>,
    sources: Sources,
    known: moka::sync::Cache<String, Arc<Known>>,
}

impl Statements {
    pub(super) fn new(store: Arc<Store>, sources: Sources) -> Statements {
        Statements { store, sources, known: moka::sync::Cache::new(STATEMENTS_MAX) }
    }

    /// As [`Results::explain`](super::Results::explain).
    pub(super) async fn explain(&self, sql: &str) -> Result<(Vec<String>, Vec<String>), Error> {
        let reads = &self.reads(sql).await?.reads;
        Ok((reads.tables.iter().map(TableRead::describe).collect(), reads.refusals()))
    }

    /// All that a question's result depends on.
    ///
    /// # Errors
    /// When it reads what it is not said to depend on, or something of which nobody tells; when a table is not attached, or neither
    /// the feed nor Postgres answers.
    pub(super) async fn watched(&self, question: &Question) -> Result<Vec<Watched>, Error> {
        let mut watched = Vec::new();
        for on in &question.statement.depends_on {
            let (source, flushes) = self.sources.of(&on.table).await?;
            watched.push(Watched { source, flushes, rows: on.rows.clone() });
        }
        if question.statement.is_complete {
            return Ok(watched);
        }
        let known = self.reads(&question.statement.sql).await?;
        known.reads.check()?;
        for (table, (source, flushes)) in known.reads.tables.iter().zip(&known.sources) {
            if question.statement.depends_on.is_empty() {
                let watch = |rows| Watched { source: source.clone(), flushes: *flushes, rows };
                watched.extend(table.rows(&question.parameters).into_iter().map(watch));
            } else if !watched.iter().any(|named| named.source.id == table.table_id) {
                let message = format!(
                    "the query reads {}, and is not said to depend on it: name it, leave all names to the server, or assume_complete()",
                    table.relation
                );
                return Err(Error::new(ErrorKind::Config, message));
            }
        }
        Ok(watched)
    }

    /// What a statement reads: asked once, and again when one of its tables has changed as a whole, as it does with whatever changes
    /// what its name, its views or its policies mean.
    ///
    /// # Errors
    /// When the statement is wrong, or Postgres does not answer.
    async fn reads(&self, sql: &str) -> Result<Arc<Known>, Error> {
        if let Some(known) = self.known.get(sql).filter(|known| known.is_current()) {
            return Ok(known);
        }
        let mut last: Option<Arc<Known>> = None;
        for _ in 0..TRIES_MAX {
            let reads = Reads::parse(&self.store.dependencies(sql).await?)?;
            let mut sources = Vec::new();
            for table in &reads.tables {
                sources.push(self.sources.of(&table.relation).await?);
            }
            let known = Arc::new(Known { reads, sources });
            // What changed before a table was subscribed to is not told: it counts only once nothing changes around it.
            if last.as_ref().is_some_and(|last| last.is_same(&known)) {
                // What is refused may be mended, of which nobody tells.
                if known.reads.refused.is_empty() {
                    self.known.insert(sql.to_owned(), known.clone());
                }
                return Ok(known);
            }
            last = Some(known);
        }
        Err(Error::new(ErrorKind::Unavailable, "the tables that the query reads change as a whole all the time"))
    }
}
