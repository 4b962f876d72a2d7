//! A connection that tells what was committed.

use super::connection::FEED;
use super::connector::Messages;
use super::postgres::Postgres;
use crate::error::{Error, ErrorKind, Step};
use crate::store::{FeedLink, Since};
use async_trait::async_trait;
use cache_sync_core::number::{Epoch, Stamp};
use cache_sync_core::wire::{CHANNEL, Message, WireError};
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use tokio_postgres::{AsyncMessage, Client, Notification, Statement};

const LISTENING: Step = "listening to the feed";

/// Turns a connection into a listener of a server without a feed in shared memory.
const LISTEN: &str = "LISTEN cache_sync";

/// Whether the tables may be read, and the server's epoch and clock. The answer comes behind what was notified before.
const LISTEN_STATE: &str = "SELECT epoch, hlc FROM cache_sync.listen_state($1)";

/// A connection of its own.
pub(super) struct PgFeed {
    client: Arc<Client>,
    messages: Messages,
    /// Whether the server is still the one to hear.
    doubts: watch::Receiver<u64>,
    /// The CALL that is the feed, once that has begun.
    call: Option<BoxFuture<'static, Result<(), tokio_postgres::Error>>>,
    /// What is asked of a server that notifies, once it is listened to.
    probe: Arc<OnceLock<Statement>>,
}

impl PgFeed {
    pub(super) async fn connect(postgres: &Postgres) -> Result<PgFeed, Error> {
        let doubts = postgres.doubts();
        let (client, messages) = postgres.connect("feed", FEED).await?;
        Ok(PgFeed { client: Arc::new(client), messages, doubts, call: None, probe: Arc::default() })
    }
}

/// The next notification; `None` for what is none.
async fn notification(
    messages: &mut Messages,
    doubts: &mut watch::Receiver<u64>,
) -> Result<Option<Notification>, Error> {
    let message = tokio::select! {
        biased;
        message = messages.next() => message,
        _ = doubts.changed() => {
            return Err(Error::new(ErrorKind::Unavailable, "the server may not be the primary any more"));
        }
    };
    match message {
        Some(Ok(AsyncMessage::Notification(notification))) if notification.channel() == CHANNEL => {
            Ok(Some(notification))
        }
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(Error::query(LISTENING, error)),
        None => Err(Error::new(ErrorKind::Unavailable, "the feed's connection was closed")),
    }
}

#[async_trait]
impl FeedLink for PgFeed {
    fn begin(&mut self, tables: &[i32], since: Option<Since>) {
        let (client, statement) = (self.client.clone(), stream_statement(tables, since));
        self.call = Some(async move { client.batch_execute(&statement).await }.boxed());
    }

    async fn next(&mut self) -> Result<Option<Message>, Error> {
        let PgFeed { messages, doubts, call, .. } = self;
        let ended = async {
            match call {
                Some(call) => call.await,
                None => std::future::pending().await,
            }
        };
        let notification = tokio::select! {
            biased;
            notification = notification(messages, doubts) => notification?,
            ended = ended => {
                self.call = None;
                ended.map_err(|error| Error::query(LISTENING, error))?;
                return Err(Error::new(ErrorKind::Unavailable, "the server ended the feed"));
            }
        };
        let Some(notification) = notification else { return Ok(None) };
        let message = Message::decode(notification.payload());
        message.map(Some).map_err(|error| Error::caused(ErrorKind::Mismatch, "the feed cannot be understood", error))
    }

    fn listen(&self) -> BoxFuture<'static, Result<(), Error>> {
        let (client, probe) = (self.client.clone(), self.probe.clone());
        async move {
            client.batch_execute(LISTEN).await?;
            let statement = client.prepare(LISTEN_STATE).await?;
            // A connection listens once.
            let _ = probe.set(statement);
            Ok(())
        }
        .map(|answer| answer.map_err(|error| Error::query(LISTENING, error)))
        .boxed()
    }

    fn probe(&self, tables: Vec<i32>) -> BoxFuture<'static, Result<(Epoch, Stamp), Error>> {
        let (client, probe) = (self.client.clone(), self.probe.get().cloned());
        async move {
            let Some(statement) = probe else { return Err(Error::new(ErrorKind::Unavailable, "nobody listens yet")) };
            let row = client.query_one(&statement, &[&tables]).await.map_err(|error| Error::query(LISTENING, error))?;
            let (epoch, hlc): (i64, i64) = (row.get(0), row.get(1));
            Ok((Epoch(epoch as u64), Stamp(hlc)))
        }
        .boxed()
    }

    async fn notified(&mut self) -> Result<Option<Result<Message, WireError>>, Error> {
        let notification = notification(&mut self.messages, &mut self.doubts).await?;
        Ok(notification.map(|notification| Message::decode(notification.payload())))
    }
}

/// The statement that turns a connection into a feed.
fn stream_statement(tables: &[i32], since: Option<Since>) -> String {
    let tables: Vec<_> = tables.iter().map(i32::to_string).collect();
    let (epoch, position) = match since {
        Some(Since { epoch, position }) => ((epoch.0 as i64).to_string(), (position.0 as i64).to_string()),
        None => ("NULL".to_owned(), "NULL".to_owned()),
    };
    format!("CALL cache_sync.stream('{{{}}}'::int[], {epoch}, {position})", tables.join(","))
}
