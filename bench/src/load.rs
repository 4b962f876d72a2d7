//! Clients that write and listen.

use crate::Result;
use cache_sync_core::wire::CHANNEL;
use futures_util::stream::{StreamExt, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, NoTls};

pub(crate) async fn connect(dsn: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await?;
    // The client's next call says what went wrong here.
    tokio::spawn(async move { connection.await.is_ok() });
    Ok(client)
}

/// Connections that listen until they are dropped.
pub(crate) struct Listeners {
    tasks: Vec<JoinHandle<()>>,
    heard: Arc<AtomicU64>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Listeners {
    /// Each runs the same statement: `CALL cache_sync.stream()`, or `LISTEN`.
    pub(crate) async fn start(dsn: &str, count: usize, statement: &'static str) -> Result<Listeners> {
        let heard = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::with_capacity(count);
        for _ in 0..count {
            let (client, mut connection) = tokio_postgres::connect(dsn, NoTls).await?;
            let heard = heard.clone();
            tasks.push(tokio::spawn(async move {
                let mut messages = poll_fn(move |context| connection.poll_message(context));
                let call = client.batch_execute(statement);
                tokio::pin!(call);
                let mut calling = true;
                loop {
                    tokio::select! {
                        message = messages.next() => match message {
                            Some(Ok(AsyncMessage::Notification(notification))) if notification.channel() == CHANNEL => {
                                heard.fetch_add(1, Ordering::Relaxed);
                            }
                            Some(Ok(_)) => {}
                            _ => break,
                        },
                        // LISTEN ends at once, and the connection goes on.
                        _ = &mut call, if calling => calling = false,
                    }
                }
            }));
        }
        Ok(Listeners { tasks, heard })
    }

    /// None.
    pub(crate) fn none() -> Listeners {
        Listeners { tasks: Vec::new(), heard: Arc::default() }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.tasks.len() as u64
    }

    /// Messages that all of them heard together.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}
