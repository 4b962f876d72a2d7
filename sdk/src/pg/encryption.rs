//! Whether a connection is encrypted, and by whom.

use super::hosts;
use super::login::cause;
use crate::config::tls::SslMode;
use crate::error::Error;
use tokio_postgres::config::SslMode as DriversMode;
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
    /// Whether `prefer` does without it where it cannot be had.
    const MAY_BE_MISSING: bool = false;

    /// # Errors
    /// What it is made of cannot be used.
    fn ready(&self) -> impl Future<Output = Result<Self::Make, Error>> + Send;

    /// Whether no handshake has succeeded, of one at least.
    fn has_failed(&self, _: &Self::Make) -> bool {
        false
    }

    /// Says that it was done without, since it has failed for this reason.
    fn say_without(&self, _why: &str) {}
}

/// One that does not change: a user's own, or none. It is the driver's to ask, and what it refuses is refused: whoever verifies by himself does
/// not want to be connected to the others without.
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
    type Make = crate::tls::Handshakes;
    const MAY_BE_MISSING: bool = true;

    async fn ready(&self) -> Result<Self::Make, Error> {
        crate::tls::FromFiles::ready(self).await
    }

    fn has_failed(&self, make: &Self::Make) -> bool {
        make.has_failed()
    }

    fn say_without(&self, why: &str) {
        crate::tls::FromFiles::say_without(self, why);
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

/// Connects. Where the mode leaves it open whether with TLS, each host is asked for itself: what is wrong with one does not say how another is
/// to be connected to.
pub(super) async fn open<T: Tls>(tls: &T, mode: SslMode, config: Config) -> Result<Open<T>, NotOpened> {
    if !matches!(mode, SslMode::Allow | SslMode::Prefer) {
        return open_host(tls, mode, config).await;
    }
    let mut hosts = hosts::each(&config);
    let last = hosts.pop().unwrap_or(config);
    for host in hosts {
        if let Ok(opened) = open_host(tls, mode, host).await {
            return Ok(opened);
        }
    }
    // As the driver has it: the last one's reason is said.
    open_host(tls, mode, last).await
}

/// Connects in the order that the mode has, and the other way if the server would rather.
async fn open_host<T: Tls>(tls: &T, mode: SslMode, mut config: Config) -> Result<Open<T>, NotOpened> {
    let make = tls.ready().await.map_err(NotOpened::Unready)?;
    let mut connect = async |mode| {
        config.ssl_mode(mode);
        config.connect(make.clone()).await
    };
    match mode {
        SslMode::Disable => Ok(connect(DriversMode::Disable).await?),
        SslMode::Allow => match connect(DriversMode::Disable).await {
            Err(error) if is_not_let_in(&error) => Ok(connect(DriversMode::Prefer).await?),
            connected => Ok(connected?),
        },
        SslMode::Prefer => match connect(DriversMode::Prefer).await {
            Err(error) if T::MAY_BE_MISSING => {
                let has_failed = tls.has_failed(&make);
                if !has_failed && !is_not_let_in(&error) {
                    return Err(error.into());
                }
                let plain = connect(DriversMode::Disable).await;
                if has_failed && plain.is_ok() {
                    tls.say_without(&cause(&error));
                }
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
