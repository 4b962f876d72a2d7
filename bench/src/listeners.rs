//! Clients that listen.

use cache_sync_core::wire::{Body, CHANNEL, Message};
use cache_sync_kit::Result;
use futures_util::stream::{StreamExt, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, NoTls};

/// Connections that listen until they are dropped.
#[derive(Default)]
pub(crate) struct Listeners {
    tasks: Vec<JoinHandle<()>>,
    /// How many of them have heard of a change.
    heard: Arc<AtomicUsize>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Listeners {
    /// Each runs the same statement: `CALL cache_sync.stream()`, or `LISTEN`.
    pub(crate) async fn start(dsn: &str, count: usize, statement: &'static str) -> Result<Listeners> {
        let mut listeners = Listeners::default();
        for _ in 0..count {
            let (client, mut connection) = tokio_postgres::connect(dsn, NoTls).await?;
            let heard = listeners.heard.clone();
            listeners.tasks.push(tokio::spawn(async move {
                let mut messages = poll_fn(move |context| connection.poll_message(context));
                let call = client.batch_execute(statement);
                tokio::pin!(call);
                let (mut calling, mut has_heard) = (true, false);
                loop {
                    tokio::select! {
                        message = messages.next() => match message {
                            // Reading every one would take from the writers what a client does that drops entries.
                            Some(Ok(AsyncMessage::Notification(message))) if message.channel() == CHANNEL && !has_heard => {
                                has_heard = tells_a_change(message.payload());
                                heard.fetch_add(usize::from(has_heard), Ordering::Relaxed);
                            }
                            Some(Ok(_)) => {}
                            _ => break,
                        },
                        // LISTEN ends at once, and the connection goes on.
                        result = &mut call, if calling => {
                            calling = false;
                            if result.is_err() {
                                break;
                            }
                        }
                    }
                }
            }));
        }
        Ok(listeners)
    }

    /// Fails if one has ended, or has heard of no change.
    pub(crate) fn check(&self) -> Result<()> {
        let (count, heard) = (self.tasks.len(), self.heard.load(Ordering::Relaxed));
        let ended = self.tasks.iter().filter(|task| task.is_finished()).count();
        if ended > 0 || heard < count {
            return Err(format!("of {count} listeners {heard} have heard of a change, and {ended} have ended").into());
        }
        Ok(())
    }
}

/// Whether a feed's message tells a change; one of pg_notify's, which is no feed's, always does.
fn tells_a_change(payload: &str) -> bool {
    Message::decode(payload)
        .map_or(true, |message| matches!(message.body, Body::Changes(changes) if !changes.is_empty()))
}
