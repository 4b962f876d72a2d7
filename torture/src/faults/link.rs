//! The network between one node and the server. What comes is passed on in order, however late: a network that loses a part of a
//! stream ends the connection.

use super::servers::{PLACES, Servers};
use cache_sync_kit::{Result, locked};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

const CHUNK: usize = 16 << 10;
/// So many chunks are under way at most; then whoever sends has to wait, as with TCP.
const CHUNKS_MAX: usize = 256;
/// Length and code of what clients ask first that would rather have TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// How often it is looked whether the way is free again.
const PAUSE: Duration = Duration::from_millis(2);
/// How often some bytes come through where few do.
const TRICKLE: Duration = Duration::from_millis(50);
/// Of loads that are unevenly late each connection has its own share of that.
const SHARES: u32 = 4;

/// What a connection is for, by its application name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Feed = 0,
    Flusher = 1,
    Loads = 2,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// By how many milliseconds everything is late, by purpose.
    pub(crate) late: [AtomicU64; 3],
    /// How many bytes come through in a second; 0: as many as there are.
    pub(crate) bytes_per_second: AtomicU64,
    /// Nothing comes through.
    pub(crate) stalled: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct Weather {
    /// Since when what is late has been getting later, if it comes so by and by: a stream that breaks off and one that falls behind are not
    /// the same.
    pub(crate) creeps_since: Mutex<Option<Instant>>,
    /// From the node to the server.
    pub(crate) up: Way,
    /// From the server to the node.
    pub(crate) down: Way,
    /// Connections for loads are late by different shares.
    pub(crate) is_uneven: AtomicBool,
    /// No new connection is carried.
    pub(crate) refused: AtomicBool,
}

impl Weather {
    /// What has come of this lateness so far.
    fn by_and_by(&self, late: Duration) -> Duration {
        let since = *locked(&self.creeps_since);
        since.map_or(late, |since| late.min(since.elapsed() * 4 / 5))
    }
}

#[derive(Debug)]
pub(crate) struct Link {
    /// Where it is entered for each place.
    pub(crate) ports: [u16; PLACES],
    pub(crate) weather: Arc<Weather>,
    cut: watch::Sender<()>,
    _tasks: JoinSet<()>,
}

impl Link {
    pub(crate) async fn start(servers: &Servers) -> Result<Link> {
        let (weather, (cut, is_cut)) = (Arc::<Weather>::default(), watch::channel(()));
        let (mut ports, mut tasks) = ([0; PLACES], JoinSet::new());
        for (place, port) in ports.iter_mut().enumerate() {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            *port = listener.local_addr()?.port();
            let (servers, weather, is_cut) = (servers.clone(), weather.clone(), is_cut.clone());
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                let mut number = 0;
                while let Ok((client, _)) = listener.accept().await {
                    number += 1;
                    if !weather.refused.load(Ordering::Acquire) {
                        let carrying = Carrying { weather: weather.clone(), number };
                        connections.spawn(carry(client, servers.port(place), carrying, is_cut.clone()));
                    }
                    while connections.try_join_next().is_some() {}
                }
            });
        }
        Ok(Link { ports, weather, cut, _tasks: tasks })
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
    }
}

#[derive(Clone)]
struct Carrying {
    weather: Arc<Weather>,
    number: u32,
}

async fn carry(mut client: TcpStream, server_port: u16, carrying: Carrying, mut cut: watch::Receiver<()>) {
    cut.mark_unchanged();
    let Some(first) = read_startup(&mut client).await else { return };
    let purpose = purpose_of(&first);
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server_port)).await else { return };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() || server.write_all(&first).await.is_err() {
        return;
    }
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::select! {
        () = pass(client_read, server_write, &carrying, true, purpose) => {}
        () = pass(server_read, client_write, &carrying, false, purpose) => {}
        _ = cut.changed() => {}
    }
}

/// The start-up packet. It comes in one piece, as what may be asked ahead of it does: whether there is TLS, of which there is none where
/// names are to be read.
async fn read_startup(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut first = vec![0; CHUNK];
    loop {
        let length = client.read(&mut first).await.ok()?;
        if first[..length] != SSL_REQUEST {
            first.truncate(length);
            return Some(first);
        }
        client.write_all(b"N").await.ok()?;
    }
}

fn purpose_of(startup: &[u8]) -> Purpose {
    let says = |name: &[u8]| startup.windows(name.len()).any(|window| window == name);
    match (says(b" feed\0"), says(b" flusher\0")) {
        (true, _) => Purpose::Feed,
        (_, true) => Purpose::Flusher,
        _ => Purpose::Loads,
    }
}

/// Passes on one direction until either end hangs up.
async fn pass(from: OwnedReadHalf, to: OwnedWriteHalf, carrying: &Carrying, is_up: bool, purpose: Purpose) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::join!(take(from, sender), give(receiver, to, carrying, is_up, purpose));
}

async fn take(mut from: OwnedReadHalf, chunks: mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(length) = from.read(&mut chunk).await {
        if length == 0 || chunks.send((Instant::now(), chunk[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn give(
    mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    carrying: &Carrying,
    is_up: bool,
    purpose: Purpose,
) {
    let weather = &carrying.weather;
    let way = if is_up { &weather.up } else { &weather.down };
    while let Some((at, bytes)) = chunks.recv().await {
        let late = weather.by_and_by(Duration::from_millis(way.late[purpose as usize].load(Ordering::Acquire)));
        let is_uneven = purpose == Purpose::Loads && weather.is_uneven.load(Ordering::Acquire);
        let late = if is_uneven { late * (carrying.number % SHARES) / (SHARES - 1) } else { late };
        tokio::time::sleep_until(at + late).await;
        let mut left = &bytes[..];
        while !left.is_empty() {
            while way.stalled.load(Ordering::Acquire) {
                tokio::time::sleep(PAUSE).await;
            }
            let rate = way.bytes_per_second.load(Ordering::Acquire);
            let now = if rate == 0 { left.len() } else { left.len().min((rate as usize / 20).max(1)) };
            if rate > 0 {
                tokio::time::sleep(TRICKLE).await;
            }
            if to.write_all(&left[..now]).await.is_err() {
                return;
            }
            left = &left[now..];
        }
    }
}
