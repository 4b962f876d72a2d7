//! The trait that a database fulfils.

use super::batches::Batches;
use super::feed::FeedLink;
use super::result::{Selected, Selecting};
use super::rows::{LoadStatement, Loading, Takes};
use crate::codec::layout::{Layout, TableMeta};
use crate::error::Error;
use async_trait::async_trait;
use cache_sync_core::number::{Epoch, HostTime, Position};
use std::collections::HashSet;
use std::sync::Arc;

/// Which transactions are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Those that are seen already.
    Seen,
    /// Also those that write and are under way: a standby may show what they have committed before the primary does.
    Any,
}

/// A database with attached tables: a Postgres, or one in memory for tests.
#[async_trait]
pub(crate) trait Database: Send + Sync {
    /// Checks, once, that it is one to work with.
    async fn established(&self) -> Result<(), Error>;

    /// What is known of an attached table.
    ///
    /// # Errors
    /// One with an SQLSTATE when there is none of this name, or it is not attached.
    async fn describe(&self, table: &str) -> Result<TableMeta, Error>;

    /// Looks up the types of the layout's columns.
    async fn resolve(&self, meta: &TableMeta, layout: &mut Layout) -> Result<(), Error>;

    /// Loads rows by key, as they are at one moment, and hands them over as they come. `false`: another table has the name by now.
    async fn load(
        &self,
        statement: &LoadStatement,
        loading: &Loading<'_>,
        takes: &mut (dyn Takes + '_),
    ) -> Result<bool, Error>;

    /// What a query reads, as JSON: see `cache_sync.dependencies`.
    async fn dependencies(&self, sql: &str) -> Result<String, Error>;

    /// Runs a query of the user's.
    async fn select(&self, selecting: Selecting<'_>) -> Result<Selected, Error>;

    /// How far the feed is.
    async fn feed_head(&self) -> Result<(Epoch, Position), Error>;

    /// The epoch, and what the clock of the database's host shows.
    async fn clock(&self) -> Result<(Epoch, HostTime), Error>;

    /// Transactions that have written and not ended, each by a name that no other one has.
    async fn unpublished(&self, which: Ending) -> Result<HashSet<String>, Error>;

    /// A connection that can become a feed.
    async fn feed(&self) -> Result<Box<dyn FeedLink>, Error>;

    /// What all flushers of a client share.
    fn batches(&self) -> Arc<dyn Batches>;

    /// Somebody has shown that the server may not be the one to talk to.
    fn doubt(&self);

    /// Gives all connections up that are not in use.
    fn close(&self);
}
