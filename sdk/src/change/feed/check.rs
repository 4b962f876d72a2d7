//! Lets go of tables that are no longer those that were opened.

use super::Feed;
use crate::common::lock::lock;
use crate::error::Error;
use crate::store::Store;
use cache_sync_core::number::TableId;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait when Postgres could not be asked; each time in a row twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Feed {
    /// Looks at tables that have changed as a whole, until its task is ended: whoever only writes to one hears of it nowhere else.
    pub(super) async fn check_doubtful(&self, store: &Store) {
        let mut pause = PAUSE_MIN;
        loop {
            let tables = self.doubtful.take().await;
            match self.check_some(store, |table| tables.contains(&table)).await {
                Ok(()) => pause = PAUSE_MIN,
                Err(error) => {
                    tracing::warn!(error = %error.logged(), "it could not be checked whether tables are still what they were");
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(PAUSE_MAX);
                    self.doubtful.add(tables);
                }
            }
        }
    }

    /// Looks at all tables.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub(super) async fn check_tables(&self, store: &Store) -> Result<(), Error> {
        self.check_some(store, |_| true).await
    }

    async fn check_some(&self, store: &Store, which: impl Fn(TableId) -> bool) -> Result<(), Error> {
        let subscribers: Vec<_> = lock(&self.subscribers)
            .iter()
            .filter(|(table, _)| which(**table))
            .flat_map(|(table, of_table)| of_table.iter().map(|(part, of)| ((*table, *part), of.clone())))
            .collect();
        let mut failed = None;
        for (of, subscriber) in subscribers {
            match subscriber.check_again(store).await {
                Ok(true) => {}
                // Unless the table was opened again meanwhile.
                Ok(false) => self.keep(|other, known| other != of || !Arc::ptr_eq(known, &subscriber)),
                // It says nothing of the others.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}
