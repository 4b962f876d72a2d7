//! A way to a server that sees how connections begin: with the wish for TLS, or without.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What a client asks ahead of everything else if it would rather have TLS: eight bytes, as long as the beginning of all others.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A gate on a port of its own. Ends with its owner.
#[derive(Debug)]
pub struct Gate {
    /// Where clients connect.
    pub port: u16,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    encrypted: AtomicU32,
    plain: AtomicU32,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    /// Carries connections to the server on this port: all, or only those that ask for TLS.
    pub async fn start(server_port: u16, lets_plain_through: bool) -> Gate {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let seen = Arc::new(Seen::default());
        let counted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server_port, lets_plain_through, Arc::clone(&counted)));
            }
        });
        Gate { port, seen, task }
    }

    /// How many connections asked for TLS so far, and how many began without.
    pub fn seen(&self) -> (u32, u32) {
        (self.seen.encrypted.load(Ordering::Acquire), self.seen.plain.load(Ordering::Acquire))
    }
}

async fn carry(mut client: TcpStream, server_port: u16, lets_plain_through: bool, seen: Arc<Seen>) {
    let mut first = [0; 8];
    if client.read_exact(&mut first).await.is_err() {
        return;
    }
    let is_encrypted = first == SSL_REQUEST;
    if is_encrypted { &seen.encrypted } else { &seen.plain }.fetch_add(1, Ordering::AcqRel);
    if !is_encrypted && !lets_plain_through {
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server_port)).await else { return };
    if server.write_all(&first).await.is_ok() {
        // Either end may hang up; both are closed then.
        drop(copy_bidirectional(&mut client, &mut server).await);
    }
}
