//! A proxy between a client and Postgres that reads message headers, so that a connection can be cut at an exact place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The server is ready for the next query: the transaction of the last one is committed.
const READY_FOR_QUERY: u8 = b'Z';
/// A row of an answer.
const DATA_ROW: u8 = b'D';
/// A notification, as the feed sends them.
const NOTIFICATION: u8 = b'A';

/// What the proxy does to the connections that it carries.
#[derive(Debug, Default)]
pub struct Faults {
    /// How many answers with rows are still to be withheld: the connection is cut instead, after their commit.
    pub answers_to_cut: AtomicU32,
    /// How many were withheld.
    pub answers_cut: AtomicU32,
    /// Swallows everything that the server sends, and keeps the connections open.
    pub silent: AtomicBool,
    /// Swallows notifications only.
    pub no_notifications: AtomicBool,
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
}

async fn carry(client: TcpStream, server_port: u16, faults: Arc<Faults>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)).await else { return };
    // Both are small writes that somebody waits for.
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::select! {
        () = forward(client_read, server_write) => {}
        () = answer(server_read, client_write, &faults) => {}
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // Either end may hang up; both are closed then.
    drop(tokio::io::copy(&mut from, &mut to).await);
}

/// Carries the server's messages one by one. Ends when one is to be cut.
async fn answer(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, faults: &Faults) {
    let mut withheld = Vec::new();
    let mut has_rows = false;
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
        if faults.silent.load(Ordering::Acquire)
            || (header[0] == NOTIFICATION && faults.no_notifications.load(Ordering::Acquire))
        {
            continue;
        }
        has_rows |= header[0] == DATA_ROW;
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
        has_rows &= !whole;
        if client.write_all(&withheld).await.is_err() {
            return;
        }
        withheld.clear();
    }
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}
