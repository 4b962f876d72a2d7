//! A feed without the SDK: `CALL cache_sync.stream` on a connection of its own.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use cache_sync_core::wire::{Body, Change, Message};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, NoTls};

use crate::{Database, SOON};

/// An open feed. Dropping it closes its connection.
#[derive(Debug)]
pub struct Feed {
    messages: mpsc::UnboundedReceiver<Message>,
    reads: watch::Sender<bool>,
    driver: JoinHandle<()>,
    call: JoinHandle<String>,
    /// The backend that sends it.
    pub pid: i32,
    /// Its first message.
    pub start: Message,
}

impl Feed {
    /// Opens a feed of all tables, as superuser.
    pub async fn open(db: &Database<'_>) -> Feed {
        Feed::call(&db.dsn(), "").await.unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// Calls `stream` with these arguments.
    ///
    /// # Errors
    /// It is refused: the SQLSTATE and the message.
    pub async fn call(dsn: &str, arguments: &str) -> Result<Feed, String> {
        let (client, mut connection) =
            tokio_postgres::connect(dsn, NoTls).await.unwrap_or_else(|error| panic!("{dsn}: {error}"));
        let (sender, mut messages) = mpsc::unbounded_channel();
        let (reads, mut may_read) = watch::channel(true);
        let driver = tokio::spawn(async move {
            loop {
                if may_read.wait_for(|reads| *reads).await.is_err() {
                    return;
                }
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(told))) => {
                        let message = Message::decode(told.payload()).unwrap_or_else(|error| panic!("{error}"));
                        if sender.send(message).is_err() {
                            return;
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                }
            }
        });
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap_or_else(|error| panic!("{error}"));
        let pid = row.get(0);
        let sql = format!("CALL cache_sync.stream({arguments})");
        let call = tokio::spawn(async move {
            let error = client.batch_execute(&sql).await.expect_err("a feed ends with an error");
            error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{}: {error}", error.code().code()))
        });
        match messages.recv().await {
            Some(start) => Ok(Feed { messages, reads, driver, call, pid, start }),
            None => Err(call.await.expect("the call does not panic")),
        }
    }

    /// The next message, if one comes within `limit`.
    pub async fn next(&mut self, limit: Duration) -> Option<Message> {
        tokio::time::timeout(limit, self.messages.recv()).await.ok().flatten()
    }

    /// The next message that is no heartbeat.
    pub async fn news(&mut self) -> Message {
        loop {
            let message = self.next(SOON).await.expect("the feed tells something");
            if message.body != Body::Heartbeat {
                return message;
            }
        }
    }

    /// All changes up to `head`.
    pub async fn changes_up_to(&mut self, head: u64) -> Vec<Change> {
        let mut all = Vec::new();
        let deadline = Instant::now() + SOON;
        loop {
            let message = self.next(deadline.saturating_duration_since(Instant::now())).await;
            let message = message.unwrap_or_else(|| panic!("the feed did not get to position {head}"));
            match message.body {
                Body::Changes(changes) => all.extend(changes),
                Body::Heartbeat => {}
                other => panic!("unexpected {other:?}"),
            }
            if message.position.0 >= head {
                return all;
            }
        }
    }

    /// All changes committed so far.
    pub async fn changes(&mut self, db: &Database<'_>) -> Vec<Change> {
        let head = db.psql("SELECT feed_position FROM cache_sync.feed_head()").parse().expect("a position");
        self.changes_up_to(head).await
    }

    /// Stops reading, as a process does that is stopped: once one more message has come.
    pub fn stop_reading(&self) {
        self.reads.send_replace(false);
    }

    /// Reads on after [`Feed::stop_reading`].
    pub fn read_on(&self) {
        self.reads.send_replace(true);
    }

    /// The error that the feed ends with.
    pub async fn end(mut self) -> String {
        tokio::time::timeout(SOON, &mut self.call).await.expect("the feed ends").expect("the call does not panic")
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
