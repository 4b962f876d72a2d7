//! The process of a peer: two nodes that do what they are told, a line each.

use super::kind::Kind;
use super::load::Field;
use super::shape::Shape;
use cache_sync::Durability;
use cache_sync_kit::{Result, connect};
use cache_sync_peers::{CacheAside, CacheSync, Foyer, Notified, Peer, Plain, Tracked};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

/// For how long ours serves what nobody confirms any more: less than by default, so that a turn is several times as long and a read beyond
/// it can be seen. Where it is shorter still, a busy machine that delays the feed costs loads.
const FEED_TIMEOUT: Duration = Duration::from_secs(1);
/// How long rows stay in a cache that is told of changes, or deletes what is written itself.
const LONG: Duration = Duration::from_secs(300);
/// How long they stay where nobody tells.
const SHORT: Duration = Duration::from_secs(1);
/// More than there are: whether they stay is not what is compared.
const HELD_MAX: u64 = 4_000_000;

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
    let ended = runtime.block_on(open(kind, dsn, redis_url, field));
    // Somebody reads the input on a thread, and might wait for ever: what has failed is to be known now.
    runtime.shutdown_background();
    ended
}

/// Opens two nodes of a peer, and has them do what they are told.
async fn open(kind: Kind, dsn: &str, redis_url: &str, field: Arc<Field>) -> Result<()> {
    let durability = if kind == Kind::OursDurable { Durability::Database } else { Durability::Memory };
    match kind {
        Kind::Ours | Kind::OursDurable => {
            let open = async || CacheSync::open(dsn, HELD_MAX, durability, FEED_TIMEOUT).await;
            serve(twice(open).await?, dsn, field).await
        }
        Kind::Plain => serve(twice(async || Plain::open(dsn)).await?, dsn, field).await,
        Kind::CacheAside => {
            serve(twice(async || CacheAside::open(dsn, redis_url, LONG).await).await?, dsn, field).await
        }
        Kind::Tracked => {
            let open = async || Tracked::open(dsn, redis_url, HELD_MAX, LONG).await;
            serve(twice(open).await?, dsn, field).await
        }
        Kind::Notified => serve(twice(async || Notified::open(dsn, HELD_MAX, LONG).await).await?, dsn, field).await,
        Kind::Foyer => serve(twice(async || Foyer::open(dsn, HELD_MAX as usize, SHORT)).await?, dsn, field).await,
    }
}

async fn twice<P>(open: impl AsyncFn() -> Result<P>) -> Result<[Arc<P>; 2]> {
    Ok([Arc::new(open().await?), Arc::new(open().await?)])
}

/// Says that the nodes are there, and then does what it is told until nobody tells it any more.
async fn serve<P: Peer>(nodes: [Arc<P>; 2], dsn: &str, field: Arc<Field>) -> Result<()> {
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
        while let Some(command) = commands.recv().await {
            once(&command, nodes, dsn, field).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = hear => ended,
        failed = work => failed,
    }
}

async fn once<P: Peer>(command: &str, nodes: &[Arc<P>; 2], dsn: &str, field: &Arc<Field>) -> Result<()> {
    match command.split_once(' ').unwrap_or((command, "")) {
        (WARM, _) => say(&field.warm(nodes).await?),
        (TURN, seconds) => {
            let time = Duration::try_from_secs_f64(seconds.parse()?)?;
            say(&field.turn(nodes, dsn, time).await?)
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
