//! How soon another process sees a commit, against the writer's own commit reply, on an idle machine.

use crate::Result;
use crate::load::connect;
use crate::measure::median;
use crate::report::{Report, Target};
use cache_sync_core::wire::{Body, CHANNEL, Message};
use futures_util::stream::{StreamExt, poll_fn};
use rustix::time::{ClockId, clock_gettime};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio_postgres::{AsyncMessage, NoTls};

const COMMITS: usize = 1000;

/// The clock that both processes share, in microseconds.
fn monotonic_micros() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

pub(crate) async fn run(dsn: &str, report: &mut Report) -> Result<()> {
    let client = connect(dsn).await?;
    client
        .batch_execute(
            "CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL); INSERT INTO counter VALUES (1, 0);
             SELECT cache_sync.attach('counter')",
        )
        .await?;
    let mut listener = Command::new(std::env::current_exe()?)
        .args(["listen", dsn])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = listener.stdout.take().ok_or("the listener has no output")?;
    let mut heard = BufReader::new(output).lines();
    heard.next_line().await?.ok_or("the listener ended")?;
    let update = client.prepare("UPDATE counter SET n = n + 1 WHERE id = 1").await?;
    let mut lags = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        tokio::time::sleep(Duration::from_millis(2)).await;
        client.execute(&update, &[]).await?;
        let replied = monotonic_micros();
        let seen: f64 = heard.next_line().await?.ok_or("the listener ended")?.parse()?;
        lags.push(seen - replied);
    }
    listener.kill().await?;
    lags.sort_by(f64::total_cmp);
    let p99 = lags[COMMITS * 99 / 100];
    report.difference(
        ("latency", "commit seen by another process - own reply, p50"),
        (median(lags), 0.0),
        "us",
        Target::AtMost(0.0),
    );
    report.difference(
        ("latency", "commit seen by another process - own reply, p99"),
        (p99, 0.0),
        "us",
        Target::AtMost(1000.0),
    );
    Ok(())
}

/// The other process: prints when it heard each change.
pub(crate) fn listen() -> Result<()> {
    let dsn = std::env::args().nth(2).ok_or("listen needs a DSN")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, mut connection) = tokio_postgres::connect(&dsn, NoTls).await?;
        let mut messages = poll_fn(move |context| connection.poll_message(context));
        let call = client.batch_execute("CALL cache_sync.stream()");
        tokio::pin!(call);
        loop {
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    Some(Ok(AsyncMessage::Notification(notification))) if notification.channel() == CHANNEL => {
                        let seen = monotonic_micros();
                        match Message::decode(notification.payload())?.body {
                            Body::Start { .. } => println!("listening"),
                            Body::Changes(changes) => changes.iter().for_each(|_| println!("{seen}")),
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
