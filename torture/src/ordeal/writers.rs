//! Plain connections that write, and write down what was confirmed to them.

use crate::faults::Servers;
use crate::history::{Add, Event, Fate, HOMES, History, Home, ItemWrite, Span, Written};
use crate::tables::{GROUPS, ITEM_TABLE, ITEMS, KEPT_TABLE, ROWS, SHELF_ROWS, SWAPPED_TABLE};
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Dice, Result, locked};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio_postgres::{Client, SimpleQueryMessage};

const WRITERS: u32 = 4;
/// Numbers of processes from here on are writers'.
const FIRST_PROCESS: u32 = 100;
/// A writer's pause between two statements, in milliseconds, at most.
const PAUSE_MAX: u64 = 24;
/// Half of all writes go to so many keys.
const HOT: u64 = 4;
/// What is committed is named by process and number.
const PROCESS_BIT: u32 = 40;
const SETTINGS: &str = "SET statement_timeout = '6s'; SET lock_timeout = '1s'; SET client_min_messages = error";

/// One statement, or one transaction.
struct Statement {
    sql: String,
    /// What it may have written if nothing is heard of it.
    perhaps: Vec<Target>,
}

#[derive(Clone, Copy)]
enum Target {
    Row(Home, i32),
    Item { id: i32, state: Option<i64>, name: i64 },
}

/// All writers. They end with it.
pub(crate) struct Writers {
    gate: Arc<RwLock<()>>,
    histories: Vec<Arc<Mutex<Vec<Event>>>>,
    _tasks: JoinSet<()>,
}

impl Writers {
    /// They write only while the gate is not held.
    pub(crate) fn start(servers: &Servers, seed: u64, gate: &Arc<RwLock<()>>) -> Writers {
        let (mut tasks, mut histories) = (JoinSet::new(), Vec::new());
        for number in 0..WRITERS {
            let history = Arc::<Mutex<Vec<Event>>>::default();
            let dice = Dice::new(seed + u64::from(number));
            let writer = Writer {
                servers: servers.clone(),
                process: FIRST_PROCESS + number,
                serial: 0,
                dice,
                history: history.clone(),
            };
            tasks.spawn(writer.run(gate.clone()));
            histories.push(history);
        }
        Writers { gate: gate.clone(), histories, _tasks: tasks }
    }

    /// What they have done since this was asked last.
    pub(crate) fn histories(&self) -> Vec<History> {
        let taken = self.histories.iter().map(|history| std::mem::take(&mut *locked(history)));
        taken.zip(FIRST_PROCESS..).map(|(events, process)| History { process, events }).collect()
    }

    pub(crate) fn gate(&self) -> Arc<RwLock<()>> {
        self.gate.clone()
    }
}

struct Writer {
    servers: Servers,
    process: u32,
    serial: i64,
    dice: Dice,
    history: Arc<Mutex<Vec<Event>>>,
}

impl Writer {
    async fn run(mut self, gate: Arc<RwLock<()>>) {
        let mut client: Option<Client> = None;
        loop {
            let open = gate.read().await;
            match client.take().filter(|client| !client.is_closed()) {
                Some(connected) => client = self.write(connected).await,
                None => client = connect(&self.servers.dsn()).await.ok(),
            }
            drop(open);
            tokio::time::sleep(Duration::from_millis(1 + self.dice.below(PAUSE_MAX))).await;
        }
    }

    /// Hands the connection back if it is still good.
    async fn write(&mut self, client: Client) -> Option<Client> {
        let statement = self.statement();
        let begun = now_ns();
        let answer = client.simple_query(&statement.sql).await;
        let span = Span { begun, ended: now_ns() };
        let written = |fate| Written { span, accepted: None, fate, opening: 0 };
        match answer {
            Ok(messages) => {
                let rows = messages.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                let written = written(Fate::Written);
                let events = rows.filter_map(|row| {
                    let number = |column: &str| row.try_get(column).ok().flatten()?.parse::<i64>().ok();
                    let id = number("id")? as i32;
                    match (number("n"), number("home")) {
                        (Some(n), Some(home)) => Some(added(home as Home, id, Some(n), written)),
                        _ => Some(Event::Wrote(ItemWrite { id, state: number("s"), name: number("name"), written })),
                    }
                });
                locked(&self.history).extend(events);
                Some(client)
            }
            // The server says that it did not do it. When it goes away it may have.
            Err(error) if error.code().is_some_and(|code| !code.code().starts_with("57P")) => {
                client.batch_execute("ROLLBACK").await.ok().map(|()| client)
            }
            Err(_) => {
                let events = statement.perhaps.iter().map(|target| target.event(written(Fate::Unknown)));
                locked(&self.history).extend(events);
                None
            }
        }
    }

    fn statement(&mut self) -> Statement {
        match self.dice.below(20) {
            0..9 => {
                let id = self.row(ROWS);
                Statement { sql: update(KEPT_TABLE, &[id]), perhaps: vec![Target::Row(0, id)] }
            }
            9 | 10 => {
                let first = self.row(ROWS - 4);
                let ids: Vec<i32> = (first..first + 4).collect();
                let perhaps = ids.iter().map(|id| Target::Row(0, *id)).collect();
                Statement { sql: update(KEPT_TABLE, &ids), perhaps }
            }
            11 => {
                let (id, other) = (self.row(ROWS), self.row(ROWS));
                let sql = format!(
                    "BEGIN; SAVEPOINT s; UPDATE {KEPT_TABLE} SET n = n + 1000000 WHERE id = {other}; ROLLBACK TO s; {}; COMMIT",
                    update(KEPT_TABLE, &[id])
                );
                Statement { sql, perhaps: vec![Target::Row(0, id)] }
            }
            12..15 => {
                let id = self.row(SHELF_ROWS);
                // Nobody can tell of which table it was.
                let perhaps = (1..HOMES).map(|home| Target::Row(home, id)).collect();
                Statement { sql: update(SWAPPED_TABLE, &[id]), perhaps }
            }
            _ => self.item(),
        }
    }

    fn row(&mut self, rows: i32) -> i32 {
        let below = if self.dice.once_in(2) { HOT } else { rows as u64 };
        self.dice.below(below) as i32 + 1
    }

    fn item(&mut self) -> Statement {
        self.serial += 1;
        let name = (i64::from(self.process) << PROCESS_BIT) + self.serial;
        let id = self.dice.below(ITEMS as u64) as i32;
        let (sql, state) = match self.dice.below(6) {
            0 => (format!("DELETE FROM {ITEM_TABLE} WHERE id = {id} RETURNING id, {name} AS name"), None),
            1 => {
                let group = id % GROUPS;
                let sql = format!("UPDATE {ITEM_TABLE} SET s = {name} WHERE grp = {group} RETURNING id, s, s AS name");
                (sql, Some(name))
            }
            2 => {
                let sql = format!("UPDATE {ITEM_TABLE} SET s = {name} WHERE id = {id} RETURNING id, s, s AS name");
                (sql, Some(name))
            }
            _ => {
                let sql = format!(
                    "INSERT INTO {ITEM_TABLE} VALUES ({id}, {id} % {GROUPS}, {name})
                     ON CONFLICT (id) DO UPDATE SET s = excluded.s RETURNING id, s, s AS name"
                );
                (sql, Some(name))
            }
        };
        let perhaps = vec![Target::Item { id, state, name }];
        Statement { sql: format!("SET torture.name = '{name}'; {sql}"), perhaps }
    }
}

fn update(table: &str, ids: &[i32]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("UPDATE {table} SET n = n + 1 WHERE id IN ({}) RETURNING home, id, n", ids.join(", "))
}

fn added(home: Home, id: i32, after: Option<i64>, written: Written) -> Event {
    Event::Added(Add { home, id, column: 0, amount: 1, after, written })
}

impl Target {
    fn event(self, written: Written) -> Event {
        match self {
            Target::Row(home, id) => added(home, id, None, written),
            Target::Item { id, state, name } => Event::Wrote(ItemWrite { id, state, name: Some(name), written }),
        }
    }
}

async fn connect(dsn: &str) -> Result<Client> {
    let client = cache_sync_kit::connect(dsn).await?;
    client.batch_execute(SETTINGS).await?;
    Ok(client)
}
