//! How soon another process sees a commit, against the writer's own commit reply, on an idle machine and on a busy one.

use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use crate::side::{Load, Side, Workload};
use cache_sync_cluster::Cluster;
use cache_sync_core::number::TableId;
use cache_sync_core::wire::{Body, CHANNEL, Message};
use cache_sync_kit::clock::now_ns;
use cache_sync_kit::statistics::quantile;
use cache_sync_kit::{Result, connect};
use futures_util::stream::{Stream, StreamExt, poll_fn};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

const COMMITS: usize = 4000;

pub(crate) async fn run(cluster: &Cluster, database: &str, rounds: Rounds, report: &mut Report) -> Result<()> {
    let [idle, busy] = lags_of("listen", cluster, database, rounds).await?;
    let targets = [Target::AtMost(0.0), Target::AtMost(1000.0), Target::None];
    tell(report, "latency", "idle: commit seen by another process", idle, targets);
    tell(report, "latency", "32 writers: commit seen by another process", busy, [Target::None; 3]);
    Ok(())
}

/// How long after the writer's own replies another process of that kind hears of its commits, in microseconds: on an idle machine, and while
/// others write.
pub(crate) async fn lags_of(process: &str, cluster: &Cluster, database: &str, rounds: Rounds) -> Result<[Vec<f64>; 2]> {
    let dsn = cluster.dsn(database);
    let client = connect(&dsn).await?;
    client
        .batch_execute(
            "CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL); INSERT INTO counter VALUES (1, 0);
             SELECT cache_sync.attach('counter')",
        )
        .await?;
    let mut left = COMMITS;
    let goes_on = || {
        left -= 1;
        left > 0
    };
    let idle = lags(&client, [process, &dsn], goes_on).await?;

    // The same while 32 writers change another attached table as fast as they can, which the listener is told of, too.
    let writers = Side {
        cluster,
        database,
        name: "others",
        setup: "SELECT cache_sync.attach('single')",
        listening: None,
        options: "",
    };
    writers.set_up()?;
    let load = Load { workload: Workload::SingleRow, writers: 32, listeners: 0 };
    let mut loaded = Vec::new();
    for _ in 0..rounds.count {
        let writing = writers.start(load).await?;
        writing.resume()?;
        let end = Instant::now() + rounds.time();
        loaded.extend(lags(&client, [process, &dsn], || Instant::now() < end).await?);
    }
    Ok([idle, loaded])
}

/// How long after the writer's own replies another process hears of its commits, in microseconds.
async fn lags(client: &Client, process: [&str; 2], mut goes_on: impl FnMut() -> bool) -> Result<Vec<f64>> {
    let mut listener = Command::new(std::env::current_exe()?)
        .args(process)
        .arg("counter")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = listener.stdout.take().ok_or("the listener has no output")?;
    let mut heard = BufReader::new(output).lines();
    heard.next_line().await?.ok_or("the listener ended")?;
    let update = client.prepare("UPDATE counter SET n = n + 1 WHERE id = 1").await?;
    let mut lags = Vec::new();
    while goes_on() {
        tokio::time::sleep(Duration::from_millis(2)).await;
        client.execute(&update, &[]).await?;
        let replied_ns = now_ns();
        let seen_ns: i64 = heard.next_line().await?.ok_or("the listener ended")?.parse()?;
        lags.push((seen_ns - replied_ns) as f64 / 1e3);
    }
    listener.kill().await?;
    Ok(lags)
}

pub(crate) fn tell(report: &mut Report, bench: &'static str, what: &str, mut lags: Vec<f64>, targets: [Target; 3]) {
    lags.sort_by(f64::total_cmp);
    for ((part, name), target) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")].into_iter().zip(targets) {
        let row = format!("{what} - own reply, {name}");
        report.difference(Figure::new(bench, row, "us", target), quantile(&lags, part), 0.0);
    }
}

/// The other process: prints when it heard each change.
pub(crate) fn listen(args: &[String]) -> Result<()> {
    let [dsn, table] = args else { return Err("listen needs a DSN and a table".into()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, mut connection) = tokio_postgres::connect(dsn, NoTls).await?;
        let mut messages = poll_fn(move |context| connection.poll_message(context));
        let table = table_id(&client, &mut messages, table).await?;
        let call = client.batch_execute("CALL cache_sync.stream()");
        tokio::pin!(call);
        loop {
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    Some(Ok(AsyncMessage::Notification(notification))) if notification.channel() == CHANNEL => {
                        let seen_ns = now_ns();
                        match Message::decode(notification.payload())?.body {
                            Body::Start { .. } => println!("listening"),
                            Body::Changes(changes) => {
                                changes.iter().filter(|change| change.table == table).for_each(|_| println!("{seen_ns}"));
                            }
                            Body::Heartbeat | Body::Gap => {}
                        }
                    }
                    Some(Ok(_)) => {}
                    _ => return Err("the feed was closed".into()),
                },
                ended = &mut call => return Ok(ended?),
            }
        }
    })
}

/// The number under which a table is attached.
async fn table_id<E>(
    client: &Client,
    messages: &mut (impl Stream<Item = std::result::Result<AsyncMessage, E>> + Unpin),
    table: &str,
) -> Result<TableId> {
    let asked = client.simple_query("SELECT tbl, table_id FROM cache_sync.tables");
    tokio::pin!(asked);
    let rows = loop {
        tokio::select! {
            rows = &mut asked => break rows?,
            _ = messages.next() => {}
        }
    };
    let id = rows.iter().find_map(|row| match row {
        SimpleQueryMessage::Row(row) if row.get(0) == Some(table) => row.get(1)?.parse().ok(),
        _ => None,
    });
    id.map(TableId).ok_or_else(|| format!("{table} is not attached").into())
}
