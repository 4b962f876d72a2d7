//! The process of a peer: two nodes that do what they are told, a line each.

use super::kind::Kind;
use super::load::Field;
use super::shape::Shape;
use cache_sync_kit::{Result, connect};
use cache_sync_peers::{Database, Peer};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

pub(super) const WARM: &str = "warm";
pub(super) const TURN: &str = "turn";
pub(super) const CHECK: &str = "check";

/// What the other process is started as.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let [kind, shape, rows, dsn, redis_url] = args else {
        return Err("peer needs its kind, a shape, how many rows there are, a DSN and an address of Redis".into());
    };
    let kind = Kind::of_name(kind).ok_or_else(|| format!("there is no peer {kind}"))?;
    let shape = Shape::of_name(shape).ok_or_else(|| format!("there is no shape {shape}"))?;
    let field = Arc::new(Field::new(shape, rows.parse()?));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(kind.serve(dsn, redis_url, field))
}

/// Says that the nodes are there, and then does what it is told until nobody tells it any more.
pub(super) async fn serve<P: Peer>(nodes: [Arc<P>; 2], dsn: &str, field: Arc<Field>) -> Result<()> {
    let bound_ms = nodes[0].stale_at_most().map(|bound| bound.as_secs_f64() * 1e3);
    say(&bound_ms)?;
    obey(&nodes, dsn, &field, BufReader::new(tokio::io::stdin())).await
}

/// When the input ends, whatever is under way does, too: whoever has asked for it is gone.
pub(super) async fn obey<P: Peer>(
    nodes: &[Arc<P>; 2],
    dsn: &str,
    field: &Arc<Field>,
    input: impl AsyncBufRead + Unpin,
) -> Result<()> {
    let (sender, mut commands) = mpsc::channel(1);
    let hear = async {
        let mut lines = input.lines();
        while let Some(line) = lines.next_line().await? {
            sender.send(line).await?;
        }
        Ok(())
    };
    let work = async {
        let outside = Arc::new(Database::open(dsn)?);
        while let Some(command) = commands.recv().await {
            once(&command, nodes, dsn, field, &outside).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = hear => ended,
        failed = work => failed,
    }
}

async fn once<P: Peer>(
    command: &str,
    nodes: &[Arc<P>; 2],
    dsn: &str,
    field: &Arc<Field>,
    outside: &Arc<Database>,
) -> Result<()> {
    match command.split_once(' ').unwrap_or((command, "")) {
        (WARM, _) => say(&field.warm(nodes).await?),
        (TURN, seconds) => {
            let time = Duration::try_from_secs_f64(seconds.parse()?)?;
            say(&field.turn(nodes, outside, time).await?)
        }
        (CHECK, _) => {
            let rows = connect(dsn).await?.query("SELECT id, version, counter FROM record", &[]).await?;
            say(&field.confirmed.lost(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2)))))
        }
        _ => Err(format!("nobody knows how to {command}").into()),
    }
}

fn say(answer: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(answer)?);
    Ok(())
}
