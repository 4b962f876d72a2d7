//! Points in a database's history, so that one process can wait for what it knows another to have seen.

use super::Client;
use crate::error::{Error, ErrorKind};
use cache_sync_core::number::{Epoch, Position};
use cache_sync_core::sqlstate::NOT_PRELOADED;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long the feed is given to come by itself, before Postgres is asked how far it has to come.
const PATIENCE: Duration = Duration::from_millis(50);

/// A point in a database's history: see [`Client::token`]. Written out and read again it is good for a header or a cookie; whoever makes one up
/// costs a statement, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// 0 where the server counts no positions.
    epoch: Epoch,
    position: Position,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.epoch.0, self.position.0)
    }
}

impl FromStr for Token {
    type Err = Error;

    /// # Errors
    /// When it is not what [`Display`](fmt::Display) has written.
    fn from_str(text: &str) -> Result<Token, Error> {
        let number = |digits: &str| {
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        let parts = text.split_once('-').and_then(|(epoch, position)| Some((number(epoch)?, number(position)?)));
        let (epoch, position) = parts.ok_or_else(|| Error::new(ErrorKind::Value, "that is no token of cache_sync"))?;
        Ok(Token { epoch: Epoch(epoch), position: Position(position) })
    }
}

impl Client {
    /// Where the database is now: everything that was committed before this call, by whomever, comes before it. Asks Postgres.
    ///
    /// A node that has written hands it on, for example in the answer to a browser, and whichever node the browser asks next waits for it
    /// ([`Client::wait_for`]).
    ///
    /// # Errors
    /// [`Error::is_unavailable`] when Postgres does not answer.
    pub async fn token(&self) -> Result<Token, Error> {
        self.shared.common.check_open()?;
        match self.shared.store.feed_head().await {
            Ok((epoch, position)) => Ok(Token { epoch, position }),
            Err(error) if error.sqlstate() == Some(NOT_PRELOADED) => {
                Ok(Token { epoch: Epoch(0), position: Position(0) })
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until everything that was committed before the token was made has been seen by all caches and results of this client: mostly not at
    /// all, or as long as the feed takes. Where the token is of another server than this client
    /// hears, one that was restarted or that has taken over, or changes are heard by NOTIFY, it is a [`Client::catch_up`] with the server that this client
    /// talks to.
    ///
    /// # Errors
    /// As [`Client::catch_up`].
    pub async fn wait_for(&self, token: &Token) -> Result<(), Error> {
        let shared = &self.shared;
        shared.common.check_open()?;
        if shared.feed.progress().epoch == token.epoch {
            let reached = shared.feed.reached(token.epoch, token.position);
            if shared.store.wait(reached, PATIENCE).await == Some(true) {
                shared.feed.end_holds();
                return Ok(());
            }
        }
        self.catch_up().await
    }
}
