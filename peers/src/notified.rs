//! A cache in memory, and a trigger that notifies all nodes of what was written, whoever wrote it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Result, connect};
use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, NoTls};

use crate::database::Database;
use crate::held::Held;
use crate::peer::{Peer, Written};
use crate::record::{Record, Write};

/// It says whose row, and under which name the writer has connected.
const TRIGGER: &str = "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('record', OLD.id || ' ' || current_setting('application_name')); RETURN NULL; END $$;
    CREATE TRIGGER tell AFTER UPDATE OR DELETE ON record FOR EACH ROW EXECUTE FUNCTION tell()";
/// How long opening may take until notifications are heard.
const LISTEN_TIME_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to listen.
const PAUSE: Duration = Duration::from_millis(100);

/// Nodes of this process so far.
static NODES: AtomicU64 = AtomicU64::new(0);

/// A node whose rows are in memory until their change is heard of. Of its own writes it knows by itself, so they have to be awaited to
/// their end.
pub struct Notified {
    database: Database,
    inbox: Arc<Inbox>,
    time_to_live: Duration,
    listener: JoinHandle<()>,
}

/// What the listener and the readers share.
struct Inbox {
    held: Held,
    /// The name under which it writes.
    own_name: String,
    /// Readers ask Postgres unless it is.
    is_listening: AtomicBool,
    has_begun: Notify,
}

impl Notified {
    /// Creates the trigger.
    ///
    /// # Errors
    /// There is one already, or Postgres cannot be reached.
    pub async fn install(dsn: &str) -> Result<()> {
        Ok(connect(dsn).await?.batch_execute(TRIGGER).await?)
    }

    /// Listens for as long as this lives. At most `rows` are held, each for `time_to_live`, should a notification be lost unseen.
    ///
    /// # Errors
    /// Postgres cannot be reached.
    pub async fn open(dsn: &str, rows: u64, time_to_live: Duration) -> Result<Notified> {
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let own_name = format!("node {} {number} {}", std::process::id(), now_ns());
        let database = Database::open_as(dsn, &own_name)?;
        let inbox = Arc::new(Inbox {
            held: Held::new(rows, time_to_live),
            own_name,
            is_listening: AtomicBool::new(false),
            has_begun: Notify::new(),
        });
        let (dsn_of_listener, inbox_of_listener) = (dsn.to_owned(), Arc::clone(&inbox));
        let listener = tokio::spawn(async move {
            loop {
                if let Err(error) = inbox_of_listener.listen(&dsn_of_listener).await {
                    eprintln!("notifications are not heard: {error}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        let notified = Notified { database, inbox, time_to_live, listener };
        match timeout(LISTEN_TIME_MAX, notified.inbox.has_begun.notified()).await {
            Ok(()) => Ok(notified),
            Err(_) => Err(format!("notifications are not heard within {LISTEN_TIME_MAX:?}").into()),
        }
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Inbox {
    /// Drops what is notified, until the connection ends.
    async fn listen(&self, dsn: &str) -> Result<()> {
        let (client, mut connection) = tokio_postgres::connect(dsn, NoTls).await?;
        let mut messages = poll_fn(move |context| connection.poll_message(context));
        let listen = client.batch_execute("LISTEN record");
        tokio::pin!(listen);
        let mut asked = false;
        let ended = loop {
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    Some(Ok(AsyncMessage::Notification(notification))) => self.hear(notification.payload()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break Err(error.into()),
                    None => break Err("the connection was closed".into()),
                },
                answer = &mut listen, if !asked => {
                    answer?;
                    asked = true;
                    // What was told before is unknown.
                    self.held.forget_all();
                    self.is_listening.store(true, Ordering::Release);
                    self.has_begun.notify_one();
                }
            }
        };
        self.is_listening.store(false, Ordering::Release);
        ended
    }

    fn hear(&self, payload: &str) {
        match payload.split_once(' ').and_then(|(key, writer)| Some((key.parse().ok()?, writer))) {
            // That row was dropped when the write was answered. What was loaded since is not older.
            Some((_, writer)) if writer == self.own_name => {}
            Some((key, _)) => self.held.forget(key),
            None => self.held.forget_all(),
        }
    }
}

impl Peer for Notified {
    fn stale_at_most(&self) -> Option<Duration> {
        Some(self.time_to_live)
    }

    async fn read(&self, key: i64) -> Result<Option<Arc<Record>>> {
        let Inbox { held, is_listening, .. } = &*self.inbox;
        if !is_listening.load(Ordering::Acquire) {
            return Ok(self.database.read(key).await?.map(Arc::new));
        }
        held.read(key, async || Ok(self.database.read(key).await?.map(Arc::new))).await
    }

    async fn write(&self, write: Write<'_>) -> Result<Written> {
        let written = self.database.write(write).await;
        // Also where it failed: who has lost the answer does not know.
        self.inbox.held.forget(write.key);
        written.map(|()| Written::Committed)
    }

    fn statements(&self) -> u64 {
        self.database.statements()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_others_write_is_dropped_and_what_this_node_writes_only_once() {
        let (held, own_name) = (Held::new(10, Duration::from_secs(60)), "node 1 2 3".to_owned());
        let inbox = Inbox { held, own_name, is_listening: AtomicBool::new(true), has_begun: Notify::new() };
        for (payload, is_dropped) in [
            ("7 node 1 2 3", false),
            ("8 psql", false),
            ("7 node 1 2 34", true),
            ("7 ", true),
            ("7", true),
            ("x", true),
        ] {
            let row = Arc::new(Record::filled(1, "x"));
            inbox.held.forget_all();
            inbox.held.read(7, async || Ok(Some(row))).await.expect("a load");
            inbox.hear(payload);
            let read = inbox.held.read(7, async || Ok(None)).await.expect("a load");
            assert_eq!(read.is_none(), is_dropped, "{payload}");
        }
    }
}
