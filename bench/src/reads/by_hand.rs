//! A loader as an application would write it: readers miss in moka and wait in a queue, and what waits is loaded in one statement. It does not
//! hear of changes, and shares no load.

use super::Item;
use cache_sync_kit::{Result, connect};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

/// Rows in one statement.
pub(super) const BATCH: usize = 1000;
/// Statements at a time.
const LOADERS: usize = 2;

pub(super) const MANY: &str = "SELECT id, name, price FROM item WHERE id = ANY($1)";

struct Wanted {
    key: i64,
    answer: oneshot::Sender<Option<Arc<Item>>>,
}

pub(super) struct ByHand {
    held: moka::sync::Cache<i64, Arc<Item>>,
    wanted: UnboundedSender<Wanted>,
    loaders: Vec<JoinHandle<Result<()>>>,
}

impl ByHand {
    /// With room for so many items.
    pub(super) async fn new(dsn: &str, room: u64) -> Result<ByHand> {
        let held = moka::sync::Cache::new(room);
        let (wanted, waiting) = unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let mut loaders = Vec::new();
        for _ in 0..LOADERS {
            loaders.push(tokio::spawn(load(connect(dsn).await?, held.clone(), waiting.clone())));
        }
        Ok(ByHand { held, wanted, loaders })
    }

    pub(super) async fn get(&self, key: i64) -> Result<Option<Arc<Item>>> {
        if let Some(item) = self.held.get(&key) {
            return Ok(Some(item));
        }
        let (answer, item) = oneshot::channel();
        self.wanted.send(Wanted { key, answer }).map_err(|_| "the loaders have ended")?;
        Ok(item.await?)
    }
}

/// Waits until its loaders have ended and what they held is freed, so that nobody else's time is taken by that.
pub(super) async fn close(loader: Arc<ByHand>) -> Result<()> {
    let ByHand { held, wanted, loaders } = Arc::into_inner(loader).ok_or("somebody still reads")?;
    drop((held, wanted));
    for loader in loaders {
        loader.await??;
    }
    Ok(())
}

async fn load(
    client: tokio_postgres::Client,
    held: moka::sync::Cache<i64, Arc<Item>>,
    waiting: Arc<Mutex<UnboundedReceiver<Wanted>>>,
) -> Result<()> {
    let statement = client.prepare(MANY).await?;
    loop {
        let mut wanted = Vec::with_capacity(BATCH);
        if waiting.lock().await.recv_many(&mut wanted, BATCH).await == 0 {
            return Ok(());
        }
        let keys: Vec<i64> = wanted.iter().map(|wanted| wanted.key).collect();
        let mut items: HashMap<i64, _> = HashMap::with_capacity(keys.len());
        for row in client.query(&statement, &[&keys]).await? {
            items.insert(row.try_get("id")?, Arc::new(Item::read(&row)?));
        }
        for Wanted { key, answer } in wanted {
            let item = items.get(&key);
            if let Some(item) = item {
                held.insert(key, item.clone());
            }
            let _ = answer.send(item.cloned());
        }
    }
}
