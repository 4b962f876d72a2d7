//! What the extension says of itself and of a table.

use super::postgres::Postgres;
use crate::codec::layout::{Layout, TableMeta, quote};
use crate::error::{Error, ErrorKind, Step};
use crate::store::within;
use std::cmp::Ordering;
use tokio_postgres::IsolationLevel;

impl Postgres {
    /// Checks that library, script and SDK fit together.
    pub(super) async fn check_versions(&self) -> Result<(), Error> {
        let rows = self
            .query(
                "reading the extension's version",
                "SELECT library, script, protocol, pg_catalog.pg_is_in_recovery() FROM cache_sync.versions()",
                &[],
            )
            .await;
        let mismatch = |message: String| Err(Error::new(ErrorKind::Mismatch, message));
        let rows = rows.map_err(|error| match error.sqlstate() {
            Some("3F000" | "42883") => Error::new(
                ErrorKind::Mismatch,
                "this database lacks the extension cache_sync; run CREATE EXTENSION cache_sync",
            ),
            _ => error,
        })?;
        let row = &rows[0];
        let (library, script, theirs): (String, String, i32) = (row.get(0), row.get(1), row.get(2));
        if row.get(3) {
            let message = "the server is a standby, which has no feed and takes no writes; connect to the primary";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        if library != script {
            return mismatch(format!(
                "the extension's library is {library}, its objects in this database are {script}; run ALTER EXTENSION cache_sync UPDATE"
            ));
        }
        let ours = cache_sync_core::PROTOCOL;
        let to_upgrade = match theirs.cmp(&ours) {
            Ordering::Equal => return Ok(()),
            Ordering::Less => "upgrade the extension on the server",
            Ordering::Greater => "upgrade the SDK",
        };
        mismatch(format!("the extension speaks protocol {theirs}, this SDK {ours}; {to_upgrade}"))
    }

    /// What the extension says of the table.
    pub(super) async fn describe_table(&self, table: &str) -> Result<TableMeta, Error> {
        let step = "describing the table";
        let text = "SELECT $1::pg_catalog.text::pg_catalog.regclass::pg_catalog.oid, \
                    cache_sync.describe($1::pg_catalog.text::pg_catalog.regclass)::pg_catalog.text";
        let row = within(step, self.query_timeout, async {
            let mut client = self.connections.get(step).await?;
            let failed = |error| Error::query(step, error);
            // The extension brings its books up to date when it finds that they are not.
            let transaction =
                client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
            let transaction = transaction.start().await.map_err(failed)?;
            let row = match transaction.query_one(text, &[&table]).await {
                Ok(row) => transaction.commit().await.map(|()| row),
                Err(error) => transaction.rollback().await.and(Err(error)),
            };
            client.idle();
            row.map_err(failed)
        })
        .await?;
        let json: String = row.get(1);
        let meta: TableMeta = serde_json::from_str(&json).map_err(|error| {
            Error::caused(ErrorKind::Mismatch, "the extension describes the table in a way unknown here", error)
        })?;
        Ok(TableMeta { relation: row.get(0), ..meta })
    }

    /// Looks up the types of the layout's columns.
    pub(super) async fn resolve_types(&self, meta: &TableMeta, layout: &mut Layout) -> Result<(), Error> {
        const STEP: Step = "looking up the columns' types";
        let text = format!("SELECT {} FROM {}.{} AS t", layout.probe_list("t"), quote(&meta.schema), quote(&meta.name));
        within(STEP, self.query_timeout, async {
            let client = self.connections.get(STEP).await?;
            let statement = client.prepare(&text).await;
            client.idle();
            layout.resolve(statement.map_err(|error| Error::query(STEP, error))?.columns(), 0);
            Ok(())
        })
        .await
    }
}
