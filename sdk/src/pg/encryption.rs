//! Whether a connection is encrypted, and by whom.

use crate::config::Server;
use crate::config::tls::SslMode;
use crate::error::{Error, ErrorKind};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_postgres::config::{Host, SslMode as DriversMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Connection, Socket};

/// What is asked of those who make TLS connections.
pub(crate) trait MakeTls:
    MakeTlsConnect<
        Socket,
        Stream: Send + Sync + 'static,
        TlsConnect: TlsConnect<Socket, Future: Send + 'static> + Send + Sync,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> MakeTls for T
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send + Sync + 'static,
    T::TlsConnect: Send + Sync,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send + 'static,
{
}

/// Has those who make TLS connections ready, each time that one is made.
pub(crate) trait Tls: Clone + Send + Sync + 'static {
    type Make: MakeTls;

    /// # Errors
    /// What it is made of cannot be used.
    fn ready(&self) -> impl Future<Output = Result<Self::Make, Error>> + Send;
}

/// One that does not change: a user's own, or none.
#[derive(Clone)]
pub(crate) struct Given<T>(pub(crate) T);

impl<T: MakeTls> Tls for Given<T> {
    type Make = T;

    async fn ready(&self) -> Result<T, Error> {
        Ok(self.0.clone())
    }
}

#[cfg(feature = "tls")]
impl Tls for crate::tls::FromFiles {
    type Make = tokio_postgres_rustls::MakeRustlsConnect;

    async fn ready(&self) -> Result<Self::Make, Error> {
        crate::tls::FromFiles::ready(self).await
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// It was not even tried.
    Unready(Error),
    Driver(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for NotOpened {
    fn from(error: tokio_postgres::Error) -> NotOpened {
        NotOpened::Driver(error)
    }
}

type Open<T> = (Client, Connection<Socket, <<T as Tls>::Make as MakeTlsConnect<Socket>>::Stream>);

/// Connects: where the mode leaves it open whether with TLS, then in the order that it has, and the other way if the server would rather.
pub(super) async fn open<T: Tls>(tls: &T, mode: SslMode, mut config: Config) -> Result<Open<T>, NotOpened> {
    let make = tls.ready().await.map_err(NotOpened::Unready)?;
    let noting = Noting { make, has_failed: Arc::default() };
    let are_many = config.get_hosts().len() > 1;
    let mut connect = async |mode| {
        config.ssl_mode(mode);
        config.connect(noting.clone()).await
    };
    match mode {
        SslMode::Disable => Ok(connect(DriversMode::Disable).await?),
        SslMode::Allow => match connect(DriversMode::Disable).await {
            // Of several hosts only the last one's reason is known.
            Err(error) if are_many || is_not_let_in(&error) => Ok(connect(DriversMode::Prefer).await?),
            connected => Ok(connected?),
        },
        SslMode::Prefer => match connect(DriversMode::Prefer).await {
            Err(error) if noting.has_failed.load(Ordering::Acquire) || is_not_let_in(&error) => {
                let plain = connect(DriversMode::Disable).await;
                // That it is not let in without TLS does not say what is wrong with it.
                Ok(plain.map_err(|plain| if is_not_let_in(&plain) { error } else { plain })?)
            }
            connected => Ok(connected?),
        },
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Ok(connect(DriversMode::Require).await?),
    }
}

/// Whether the server's rules have nothing for such a connection. A wrong password is none of that: it is not told twice.
fn is_not_let_in(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == "28000")
}

/// Notes that a handshake has failed, of whichever host.
#[derive(Clone)]
pub(super) struct Noting<T> {
    make: T,
    has_failed: Arc<AtomicBool>,
}

impl<T: MakeTls> MakeTlsConnect<Socket> for Noting<T> {
    type Stream = T::Stream;
    type TlsConnect = Noting<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Noting<T::TlsConnect>, T::Error> {
        Ok(Noting { make: self.make.make_tls_connect(host)?, has_failed: self.has_failed.clone() })
    }
}

impl<T> TlsConnect<Socket> for Noting<T>
where
    T: TlsConnect<Socket, Future: Send + 'static>,
{
    type Stream = T::Stream;
    type Error = T::Error;
    type Future = BoxFuture<'static, Result<T::Stream, T::Error>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let has_failed = self.has_failed;
        let noted = self.make.connect(stream).inspect(move |connected| {
            if connected.is_err() {
                has_failed.store(true, Ordering::Release);
            }
        });
        Box::pin(noted)
    }
}

/// How connections to this server are encrypted, of what is said about it. Unix sockets never are.
///
/// # Errors
/// It cannot be the same for all of its hosts.
pub(crate) fn mode_for(server: &mut Server) -> Result<SslMode, Error> {
    let (mode, postgres) = (server.tls.mode, &mut server.postgres);
    if postgres.get_hosts().is_empty() && mode != SslMode::Disable {
        // The driver has TLS with those only that have a name.
        for address in postgres.get_hostaddrs().to_vec() {
            postgres.host(address.to_string());
        }
    }
    let hosts = postgres.get_hosts();
    let sockets = hosts.iter().filter(|host| !matches!(host, Host::Tcp(_))).count();
    match sockets {
        0 => Ok(mode),
        sockets if sockets == hosts.len() => Ok(SslMode::Disable),
        _ if mode.needs_tls() => Err(Error::new(
            ErrorKind::Config,
            "some hosts of the DSN are unix sockets, which have no TLS, and `sslmode` asks for it: name hosts of one kind",
        )),
        _ => Ok(mode),
    }
}
