//! What became of the handshakes of one connection: where it is left open whether there is TLS, it is done without only if none succeeded.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

type Rustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Makes TLS connections, and notes how many of those to whom the driver came it could not.
#[derive(Clone)]
pub(crate) struct Handshakes {
    /// Or why there can be none.
    make: Result<MakeRustlsConnect, Arc<str>>,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    /// Addresses that were connected to.
    reached: AtomicU32,
    failed: AtomicU32,
}

impl Handshakes {
    pub(super) fn new(make: MakeRustlsConnect) -> Handshakes {
        Handshakes { make: Ok(make), tally: Arc::default() }
    }

    /// Each one fails: a server that has no TLS need not know.
    pub(super) fn impossible(why: &str) -> Handshakes {
        Handshakes { make: Err(why.into()), tally: Arc::default() }
    }

    #[cfg(test)]
    pub(super) fn is_possible(&self) -> bool {
        self.make.is_ok()
    }

    /// Whether that is why there is no connection: each server that was reached failed at it. One that had TLS, and then would not talk, is
    /// asked again by who wants to, and not without.
    pub(crate) fn has_failed(&self) -> bool {
        let failed = self.tally.failed.load(Ordering::Acquire);
        failed > 0 && failed == self.tally.reached.load(Ordering::Acquire)
    }
}

impl MakeTlsConnect<Socket> for Handshakes {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, io::Error> {
        self.tally.reached.fetch_add(1, Ordering::AcqRel);
        let connect = match &mut self.make {
            Ok(make) => MakeTlsConnect::<Socket>::make_tls_connect(make, host).map_err(io::Error::other),
            Err(why) => Err(io::Error::new(io::ErrorKind::InvalidData, &**why)),
        };
        Ok(Handshake { connect, tally: Arc::clone(&self.tally) })
    }
}

/// One of them. It fails once the server wants it.
pub(crate) struct Handshake {
    connect: io::Result<Rustls>,
    tally: Arc<Tally>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let shaken = match self.connect {
            Ok(connect) => connect.connect(stream).left_future(),
            Err(error) => ready(Err(error)).right_future(),
        };
        let tally = self.tally;
        let noted = shaken.inspect(move |connected| {
            if connected.is_err() {
                tally.failed.fetch_add(1, Ordering::AcqRel);
            }
        });
        Box::pin(noted)
    }
}
