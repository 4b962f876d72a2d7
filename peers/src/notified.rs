//! A cache in memory, and a trigger that notifies all nodes of what was written, whoever wrote it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

const TRIGGER: &str = "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('record', OLD.id::text); RETURN NULL; END $$;
    CREATE TRIGGER tell AFTER UPDATE OR DELETE ON record FOR EACH ROW EXECUTE FUNCTION tell()";
/// How long opening may take until notifications are heard.
const LISTEN_TIME_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to listen.
const PAUSE: Duration = Duration::from_millis(100);

/// A node whose rows are in memory until their change is heard of.
pub struct Notified {
    database: Database,
    inbox: Arc<Inbox>,
    time_to_live: Duration,
    listener: JoinHandle<()>,
}

/// What the listener and the readers share.
struct Inbox {
    held: Held,
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
        let inbox = Arc::new(Inbox {
            held: Held::new(rows, time_to_live),
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
        let notified = Notified { database: Database::open(dsn)?, inbox, time_to_live, listener };
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
                    Some(Ok(AsyncMessage::Notification(notification))) => match notification.payload().parse() {
                        Ok(key) => self.held.forget(key),
                        Err(_) => self.held.forget_all(),
                    },
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
        if let Some(record) = held.get(key) {
            return Ok(Some(record));
        }
        let ticket = held.begin(key);
        let Some(record) = self.database.read(key).await?.map(Arc::new) else {
            held.forget(key);
            return Ok(None);
        };
        held.end(key, ticket, &record);
        Ok(Some(record))
    }

    async fn write(&self, write: Write<'_>) -> Result<Written> {
        self.database.write(write).await?;
        self.inbox.held.forget(write.key);
        Ok(Written::Committed)
    }

    fn statements(&self) -> u64 {
        self.database.statements()
    }
}
