//! Whether a pool that is the application's own will do.

use super::connection::{SESSION, drive};
use super::lent::CHARACTER;
use super::pooler::are_ones_own;
use super::postgres::Postgres;
use super::server_state::{SERVER_STATE, ServerState};
use crate::common::task::OwnedTask;
use crate::error::{Error, ErrorKind, Step};
use crate::store::within;
use std::sync::OnceLock;

impl Postgres {
    /// Checks that the application's pool does for connections what the DSN does: they are of the same database, and each is one of the
    /// server's own.
    pub(super) async fn check_lent(&self, character: &OnceLock<String>) -> Result<(), Error> {
        const STEP: Step = "looking at the application's pool";
        let expected = within(STEP, self.connect_timeout, async {
            let (client, messages) = self.connect("check", SESSION).await?;
            let _driver = OwnedTask(tokio::spawn(drive(messages)));
            let asked = async {
                let row = client.query_one(&format!("SELECT {CHARACTER}"), &[]).await?;
                character.get_or_init(|| row.get(0));
                ServerState::of(&client.query_one(SERVER_STATE, &[]).await?)
            };
            asked.await.map_err(|error| Error::query(STEP, error))
        });
        let expected = expected.await?.history;
        let (one, other) = within(STEP, self.connect_timeout, async {
            Ok((self.connections.get(STEP).await?, self.connections.get(STEP).await?))
        })
        .await?;
        are_ones_own(&one, &other, self.connect_timeout).await?;
        one.idle();
        other.idle();
        let of_pool = self.server_state().await.map_err(|error| match error.sqlstate() {
            Some("3F000" | "42883") => {
                Error::caused(ErrorKind::Config, "the application's pool is of a database without the extension", error)
            }
            _ => error,
        });
        match of_pool?.history.is_of(expected) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Config, "the application's pool is not of the database of the DSN")),
        }
    }
}
