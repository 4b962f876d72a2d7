//! Nodes: clients with a cache of every table, which read and write.

use super::statements::{KEYS, TABLES};
use cache_sync::{Cache, Client, Error, Key, Patch};
use cache_sync_kit::{Dice, Result, connect, locked};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::RwLock;

/// How long nodes may take to follow once nothing disturbs them.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many differences are told one by one.
const TOLD_MAX: usize = 10;

/// A row of any of the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    v: Option<String>,
    n: i64,
}

type PairKey = (i32, String);

/// What the tables hold.
pub(crate) struct Stored {
    tables: BTreeMap<&'static str, BTreeMap<i32, Row>>,
    pairs: BTreeMap<PairKey, Row>,
}

/// What a comparison found.
#[derive(Default)]
pub(crate) struct Compared {
    /// Entries that were held.
    pub(crate) held: u64,
    /// Entries that were loaded for it.
    pub(crate) loaded: u64,
    /// Of both, those that differ from their row.
    pub(crate) stale: u64,
    pub(crate) told: Vec<String>,
}

/// What nodes have done, all together.
#[derive(Default)]
pub(crate) struct Activity {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) unavailable: u64,
    pub(crate) unexpected: Vec<String>,
}

/// What a node says of a key.
struct Shown<'s, K> {
    table: &'s str,
    /// From memory alone, or asked for.
    how: &'static str,
    key: &'s K,
    row: Option<&'s Row>,
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) client: Client,
    tables: Vec<(&'static str, Cache<i32, Row>)>,
    pairs: Cache<PairKey, Row>,
}

impl Node {
    pub(crate) async fn open(name: String, dsn: &str) -> Result<Node> {
        let client = Client::connect(dsn).await?;
        let mut tables = Vec::new();
        for table in TABLES {
            tables.push((table, client.cache(table).open().await?));
        }
        let pairs = client.cache("pair").open().await?;
        Ok(Node { name, client, tables, pairs })
    }

    /// Whether the feed is heard and everything committed so far has been.
    pub(crate) async fn is_well(&self) -> bool {
        self.client.status().feed_live && self.client.catch_up().await.is_ok()
    }

    /// Waits until everything that was written is in the database, and everything committed has been heard.
    pub(crate) async fn settle(&self) -> Result<()> {
        let settled = async {
            self.client.flush().await?;
            while self.client.catch_up().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, Error>(())
        };
        tokio::time::timeout(PATIENCE, settled).await.map_err(|_| format!("{} does not settle", self.name))??;
        Ok(())
    }

    /// Reads and writes until it is aborted, but for the times at which somebody holds the gate.
    pub(crate) async fn act(self: Arc<Node>, seed: u64, gate: Arc<RwLock<()>>, activity: Arc<Mutex<Activity>>) {
        let mut dice = Dice::new(seed);
        loop {
            let open = gate.read().await;
            let is_write = dice.once_in(8);
            let done = if is_write { self.write(&mut dice).await } else { self.read(&mut dice).await };
            drop(open);
            let pause = {
                let mut activity = locked(&activity);
                match done {
                    Ok(()) if is_write => activity.writes += 1,
                    Ok(()) => activity.reads += 1,
                    Err(error) if error.is_retryable() || error.is_missing() => activity.unavailable += 1,
                    // A load that waited for a lock for too long.
                    Err(error) if error.sqlstate() == Some("57014") => activity.unavailable += 1,
                    Err(error) if activity.unexpected.len() < TOLD_MAX => {
                        activity.unexpected.push(format!("{}: {error:?}", self.name));
                    }
                    Err(_) => {}
                }
                dice.below(4)
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn read(&self, dice: &mut Dice) -> std::result::Result<(), Error> {
        let (_, cache) = dice.one_of(&self.tables);
        match dice.below(4) {
            0 => self.pairs.get(&(dice.below(20) as i32, format!("k{}", dice.below(10)))).await.map(drop),
            1 => {
                let first = dice.below(KEYS as u64) as i32;
                cache.get_many(&(first..first + 20).collect::<Vec<_>>()).await.map(drop)
            }
            _ => cache.get(&(dice.below(KEYS as u64) as i32 + 1)).await.map(drop),
        }
    }

    async fn write(&self, dice: &mut Dice) -> std::result::Result<(), Error> {
        let (table, cache) = dice.one_of(&self.tables);
        let (key, n) = (dice.below(KEYS as u64) as i32 + 1, dice.below(1_000_000));
        let text = format!("{} {n}", self.name);
        let row = Row { v: Some(text.clone()), n: 5 };
        let receipt = match dice.below(6) {
            0 => cache.put(key, row).await?,
            1 => cache.delete(&key).await?,
            2 if *table == "versioned" => cache.patch(&key, Patch::new().add("n", 1)).await?,
            3 => self.pairs.put((key % 20, format!("k{}", key % 10)), row).await?,
            4 => cache.update(&key, |row| row.v = Some(text.clone())).await?,
            _ => cache.patch(&key, Patch::new().set("v", text)).await?,
        };
        drop(receipt);
        Ok(())
    }

    /// Compares everything that is held, and then everything, with what is stored.
    pub(crate) async fn compare(&self, stored: &Stored, compared: &mut Compared) -> Result<()> {
        let keys: Vec<i32> = (0..=KEYS + 20).collect();
        for (table, cache) in &self.tables {
            self.compare_table(table, cache, &keys, &stored.tables[table], compared).await?;
        }
        let pairs: Vec<PairKey> = (0..20).flat_map(|a| (0..10).map(move |b| (a, format!("k{b}")))).collect();
        self.compare_table("pair", &self.pairs, &pairs, &stored.pairs, compared).await
    }

    async fn compare_table<K: Key + Ord + std::fmt::Debug>(
        &self,
        table: &str,
        cache: &Cache<K, Row>,
        keys: &[K],
        stored: &BTreeMap<K, Row>,
        compared: &mut Compared,
    ) -> Result<()> {
        for key in keys {
            if let Some(held) = cache.cached(key) {
                compared.held += 1;
                self.compare_row(Shown { table, how: "held", key, row: held.as_deref() }, stored.get(key), compared);
            }
        }
        for (key, row) in keys.iter().zip(cache.get_many(keys).await?) {
            compared.loaded += 1;
            self.compare_row(Shown { table, how: "read", key, row: row.as_deref() }, stored.get(key), compared);
        }
        Ok(())
    }

    fn compare_row<K: std::fmt::Debug>(&self, shown: Shown<'_, K>, stored: Option<&Row>, compared: &mut Compared) {
        let Shown { table, how, key, row } = shown;
        if row == stored {
            return;
        }
        compared.stale += 1;
        if compared.told.len() < TOLD_MAX {
            compared.told.push(format!("{}: {table} {key:?}: {how} {row:?}, the row is {stored:?}", self.name));
        }
    }
}

impl Stored {
    /// What the tables hold now.
    pub(crate) async fn read(dsn: &str) -> Result<Stored> {
        let client = connect(dsn).await?;
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let rows = client.query(&format!("SELECT id, v, n FROM {table}"), &[]).await?;
            let row = |row: &tokio_postgres::Row| (row.get(0), Row { v: row.get(1), n: row.get(2) });
            tables.insert(table, rows.iter().map(row).collect());
        }
        let rows = client.query("SELECT a, b, v, n FROM pair", &[]).await?;
        let row = |row: &tokio_postgres::Row| ((row.get(0), row.get(1)), Row { v: row.get(2), n: row.get(3) });
        let pairs = rows.iter().map(row).collect();
        Ok(Stored { tables, pairs })
    }
}
