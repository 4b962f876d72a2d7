//! A Postgres as a client's database.

use super::apply::BatchConnection;
use super::feed::PgFeed;
use super::load;
use super::postgres::Postgres;
use super::server_state::ServerState;
use crate::codec::layout::{Layout, TableMeta};
use crate::error::Error;
use crate::store::{Batches, Database, Ending, FeedLink, LoadStatement, Loading, Selected, Selecting, Takes};
use async_trait::async_trait;
use cache_sync_core::number::{Epoch, HostTime, Position};
use std::collections::HashSet;
use std::sync::Arc;

/// As the extension and the server's own protocol have it.
#[async_trait]
impl Database for Arc<Postgres> {
    async fn established(&self) -> Result<(), Error> {
        self.checked().await
    }

    async fn describe(&self, table: &str) -> Result<TableMeta, Error> {
        self.describe_table(table).await
    }

    async fn resolve(&self, meta: &TableMeta, layout: &mut Layout) -> Result<(), Error> {
        self.resolve_types(meta, layout).await
    }

    async fn load(
        &self,
        statement: &LoadStatement,
        loading: &Loading<'_>,
        takes: &mut (dyn Takes + '_),
    ) -> Result<bool, Error> {
        load::load(&self.connections, statement, loading, None, takes).await
    }

    async fn dependencies(&self, sql: &str) -> Result<String, Error> {
        self.what_it_reads(sql).await
    }

    async fn select(&self, selecting: Selecting<'_>) -> Result<Selected, Error> {
        self.run(selecting).await
    }

    async fn feed_head(&self) -> Result<(Epoch, Position), Error> {
        self.feed_position().await
    }

    async fn clock(&self) -> Result<(Epoch, HostTime), Error> {
        let ServerState { epoch, host_time, .. } = self.server_state().await?;
        Ok((epoch, host_time))
    }

    async fn unpublished(&self, which: Ending) -> Result<HashSet<String>, Error> {
        self.writing(which).await
    }

    async fn feed(&self) -> Result<Box<dyn FeedLink>, Error> {
        Ok(Box::new(PgFeed::connect(self).await?))
    }

    fn batches(&self) -> Arc<dyn Batches> {
        Arc::new(BatchConnection::new(self.clone()))
    }

    fn doubt(&self) {
        self.doubt_server();
    }

    fn close(&self) {
        self.connections.close();
    }
}
