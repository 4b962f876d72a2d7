//! A proxy between a client and Postgres that reads message headers, so that a connection can fail at an exact place.
//!
//! It knows from the application name what an SDK's connection is for, so that faults meet only the connections that
//! they are meant for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::{SOON, wait_until};

/// The server is ready for the next query: the transaction of the last one is committed.
const READY_FOR_QUERY: u8 = b'Z';
/// A row of an answer.
const DATA_ROW: u8 = b'D';
/// A notification, as the feed sends them.
const NOTIFICATION: u8 = b'A';
/// What a client asks ahead of everything else if it would rather have TLS.
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
/// How often it is looked whether held answers may go.
const HELD_POLL: Duration = Duration::from_millis(1);

/// What the proxy does to the connections that it carries.
#[derive(Debug, Default)]
pub struct Faults {
    /// How many of the flusher's answers are still to be withheld: its connection is cut instead, after their commit.
    pub answers_to_cut: AtomicU32,
    /// How many were withheld.
    pub answers_cut: AtomicU32,
    /// Keeps the flusher's answers, whose transactions are committed, until this is taken back.
    pub hold_answers: AtomicBool,
    /// Connections swallow from now on everything that the server sends, and stay open. Each does so for the rest of
    /// its life: no network loses a part of a stream and then goes on.
    pub silent: AtomicBool,
    /// By how many milliseconds everything is late that the server sends over the feed's connections.
    pub feed_late_millis: AtomicU64,
    /// How many bytes of that come through in a second; 0: as many as there are.
    pub feed_bytes_per_second: AtomicU64,
    /// How many answers with rows are still to be kept, of connections that are neither the feed's nor the flusher's: until
    /// `hold_loads` is taken back.
    pub loads_to_hold: AtomicU32,
    /// Keeps the answers that were chosen.
    pub hold_loads: AtomicBool,
    /// The same as `silent`, for the feed's connections alone.
    pub silent_feed: AtomicBool,
    /// Ends the feed's connections, and every new one at once.
    no_feed: AtomicBool,
    /// How many connections of the feed are carried.
    feeds: AtomicU32,
    /// The port of the server that new connections of the feed go to; 0: the same as all others.
    pub feed_port: AtomicU16,
}

impl Faults {
    /// Switches a fault on or off.
    pub fn set(&self, fault: impl Fn(&Faults) -> &AtomicBool, on: bool) {
        fault(self).store(on, Ordering::Release);
    }

    fn is(&self, fault: impl Fn(&Faults) -> &AtomicBool) -> bool {
        fault(self).load(Ordering::Acquire)
    }
}

/// What an SDK uses a connection for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Feed,
    Flusher,
    Other,
}

/// A proxy on a port of its own. Ends with its owner.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients connect.
    pub port: u16,
    /// What it does to them.
    pub faults: Arc<Faults>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Carries connections to the server on this port.
    pub async fn start(server_port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let faults = Arc::new(Faults::default());
        let carried = faults.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server_port, carried.clone()));
            }
        });
        Proxy { port, faults, task }
    }

    /// A connection string for this database through the proxy.
    pub fn dsn(&self, db: &crate::Database<'_>) -> String {
        let direct = db.dsn();
        let (head, _) = direct.split_once("127.0.0.1").expect("a DSN names the host");
        format!("{head}127.0.0.1:{}/{}", self.port, db.name())
    }

    /// Cuts the feed, and lets no new one through until [`Proxy::let_feed_through`].
    pub async fn cut_feed(&self) {
        self.faults.set(|faults| &faults.no_feed, true);
        let is_cut = async || self.faults.feeds.load(Ordering::Acquire) == 0;
        wait_until(SOON, "the feed is cut", is_cut).await;
    }

    /// The feed may connect again.
    pub fn let_feed_through(&self) {
        self.faults.set(|faults| &faults.no_feed, false);
    }
}

async fn carry(mut client: TcpStream, server_port: u16, faults: Arc<Faults>) {
    let Some((startup, purpose)) = read_startup(&mut client).await else { return };
    let feed_port = faults.feed_port.load(Ordering::Acquire);
    let port = if purpose == Purpose::Feed && feed_port != 0 { feed_port } else { server_port };
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    // Both are small writes that somebody waits for.
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() || server.write_all(&startup).await.is_err() {
        return;
    }
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::select! {
        () = forward(client_read, server_write) => {}
        () = answer(server_read, Writer::new(client_write, purpose, faults.clone()), purpose, &faults) => {}
        () = feed_is_to_be_cut(purpose, &faults) => {}
    }
}

/// The first message of a client, and what its application name says.
async fn read_startup(client: &mut TcpStream) -> Option<(Vec<u8>, Purpose)> {
    let mut message = read_first(client).await?;
    if message[4..].starts_with(&SSL_REQUEST) {
        // What is to be read must not be encrypted.
        client.write_all(b"N").await.ok()?;
        message = read_first(client).await?;
    }
    let ends_with = |purpose: &str| {
        let end = format!(" {purpose}\0");
        message.windows(end.len()).any(|window| window == end.as_bytes())
    };
    let purpose = match (ends_with("feed"), ends_with("flusher")) {
        (true, _) => Purpose::Feed,
        (_, true) => Purpose::Flusher,
        _ => Purpose::Other,
    };
    Some((message, purpose))
}

/// A message without a type, as clients begin with.
async fn read_first(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 4];
    client.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes([message[0], message[1], message[2], message[3]]) as usize;
    message.resize(length, 0);
    client.read_exact(&mut message[4..]).await.ok()?;
    Some(message)
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // Either end may hang up; both are closed then.
    drop(tokio::io::copy(&mut from, &mut to).await);
}

/// Comes back when this is a connection of the feed, and is to be cut.
async fn feed_is_to_be_cut(purpose: Purpose, faults: &Faults) {
    if purpose != Purpose::Feed {
        std::future::pending::<()>().await;
    }
    let _carried = Carried::new(&faults.feeds);
    while !faults.is(|faults| &faults.no_feed) {
        tokio::time::sleep(HELD_POLL).await;
    }
}

/// Counts while it lives.
struct Carried<'a>(&'a AtomicU32);

impl<'a> Carried<'a> {
    fn new(count: &'a AtomicU32) -> Carried<'a> {
        count.fetch_add(1, Ordering::AcqRel);
        Carried(count)
    }
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Carries the server's messages one by one. Ends when one is to be cut.
async fn answer(mut server: OwnedReadHalf, mut client: Writer, purpose: Purpose, faults: &Faults) {
    let mut withheld = Vec::new();
    let (mut has_rows, mut is_silent) = (false, false);
    loop {
        let mut header = [0; 5];
        if server.read_exact(&mut header).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let mut body = vec![0; length - 4];
        if server.read_exact(&mut body).await.is_err() {
            return;
        }
        is_silent |= faults.is(|faults| &faults.silent)
            || (purpose == Purpose::Feed && header[0] == NOTIFICATION && faults.is(|faults| &faults.silent_feed));
        if is_silent {
            continue;
        }
        has_rows |= purpose == Purpose::Flusher && header[0] == DATA_ROW;
        if purpose == Purpose::Other && header[0] == DATA_ROW && take_one(&faults.loads_to_hold) {
            while faults.is(|faults| &faults.hold_loads) {
                tokio::time::sleep(HELD_POLL).await;
            }
        }
        withheld.extend_from_slice(&header);
        withheld.extend_from_slice(&body);
        let whole = header[0] == READY_FOR_QUERY;
        if has_rows && !whole {
            continue;
        }
        if whole && has_rows && take_one(&faults.answers_to_cut) {
            faults.answers_cut.fetch_add(1, Ordering::AcqRel);
            return;
        }
        while has_rows && faults.is(|faults| &faults.hold_answers) {
            tokio::time::sleep(HELD_POLL).await;
        }
        has_rows &= !whole;
        if client.write(std::mem::take(&mut withheld)).await.is_err() {
            return;
        }
    }
}

/// Writes to the client: at once, or as late and as slowly as the feed's connections are to be.
enum Writer {
    AtOnce(OwnedWriteHalf),
    Later { sender: UnboundedSender<(Instant, Vec<u8>)>, _task: AbortOnDrop },
}

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Writer {
    fn new(client: OwnedWriteHalf, purpose: Purpose, faults: Arc<Faults>) -> Writer {
        if purpose != Purpose::Feed {
            return Writer::AtOnce(client);
        }
        let (sender, receiver) = unbounded_channel();
        Writer::Later { sender, _task: AbortOnDrop(tokio::spawn(write_later(client, receiver, faults))) }
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), ()> {
        match self {
            Writer::AtOnce(client) => client.write_all(&bytes).await.map_err(drop),
            Writer::Later { sender, .. } => sender.send((Instant::now(), bytes)).map_err(drop),
        }
    }
}

async fn write_later(mut client: OwnedWriteHalf, mut sent: UnboundedReceiver<(Instant, Vec<u8>)>, faults: Arc<Faults>) {
    while let Some((at, bytes)) = sent.recv().await {
        tokio::time::sleep_until(at + Duration::from_millis(faults.feed_late_millis.load(Ordering::Acquire))).await;
        let rate = faults.feed_bytes_per_second.load(Ordering::Acquire);
        if rate > 0 {
            tokio::time::sleep(Duration::from_secs_f64(bytes.len() as f64 / rate as f64)).await;
        }
        if client.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}
