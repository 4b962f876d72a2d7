//! Who makes connections: with the TLS that the DSN wants, or an application's own, or none.

use super::encryption::{Given, NotOpened, Tls, open};
use super::login::Login;
use crate::common::task::OwnedTask;
use crate::config::tls::{SslMode, TlsTerms};
use crate::error::{Error, Step};
use deadpool_postgres::{Manager, ManagerConfig, RecyclingMethod};
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, poll_fn};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::tls::NoTls;
use tokio_postgres::{AsyncMessage, CancelToken};

/// The messages of a connection of one's own; polling them is what drives it.
pub(crate) type Messages = BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>;

type Opened = Result<(tokio_postgres::Client, Messages), NotOpened>;
type Cancel = dyn Fn(CancelToken) -> BoxFuture<'static, Result<(), NotOpened>> + Send + Sync;
type Connect = dyn Fn(tokio_postgres::Config, SslMode) -> BoxFuture<'static, Opened> + Send + Sync;
type MakeManager = dyn Fn(tokio_postgres::Config, SslMode, Arc<Login>) -> Manager + Send + Sync;

pub(super) const CONNECTING: Step = "connecting to Postgres";

/// How to reach Postgres, with or without TLS.
#[derive(Clone)]
pub(crate) struct Connector {
    mode: SslMode,
    connect: Arc<Connect>,
    manager: Arc<MakeManager>,
    cancel: Arc<Cancel>,
}

impl Connector {
    pub(crate) fn new(tls: impl Tls) -> Connector {
        let (for_pool, for_cancel) = (tls.clone(), tls.clone());
        Connector {
            mode: SslMode::Prefer,
            connect: Arc::new(move |config, mode| {
                let tls = tls.clone();
                Box::pin(async move {
                    let (client, mut connection) = open(&tls, mode, config).await?;
                    let messages: Messages = Box::pin(poll_fn(move |context| connection.poll_message(context)));
                    Ok((client, messages))
                })
            }),
            manager: Arc::new(move |config, mode, login| {
                let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
                let connect = PoolConnect { tls: for_pool.clone(), mode, login, runtime: Handle::current() };
                Manager::from_connect(config, connect, recycling)
            }),
            cancel: Arc::new(move |token| {
                let tls = for_cancel.clone();
                Box::pin(async move {
                    let tls = tls.ready().await.map_err(NotOpened::Unready)?;
                    Ok(token.cancel_query(tls).await?)
                })
            }),
        }
    }

    /// For a server of which this is said: by a connector of the user's, which knows itself what it trusts, or else as the DSN has it.
    ///
    /// # Errors
    /// It says what cannot be done without the crate's feature.
    pub(crate) fn for_server(own: Option<&Connector>, mode: SslMode, terms: &TlsTerms) -> Result<Connector, Error> {
        match own {
            Some(own) => Ok(Connector { mode, ..own.clone() }),
            None if mode == SslMode::Disable => Ok(Connector::without_tls()),
            None => Connector::from_files(mode, terms),
        }
    }

    fn without_tls() -> Connector {
        Connector { mode: SslMode::Disable, ..Connector::new(Given(NoTls)) }
    }

    #[cfg(feature = "tls")]
    fn from_files(mode: SslMode, terms: &TlsTerms) -> Result<Connector, Error> {
        Ok(Connector { mode, ..Connector::new(crate::tls::FromFiles::new(terms.clone())) })
    }

    #[cfg(not(feature = "tls"))]
    fn from_files(_: SslMode, terms: &TlsTerms) -> Result<Connector, Error> {
        needs_no_feature(terms).map(|()| Connector::without_tls())
    }

    /// A connection of one's own.
    pub(super) async fn connect(&self, postgres: tokio_postgres::Config) -> Opened {
        (self.connect)(postgres, self.mode).await
    }

    /// Who makes a pool's connections.
    pub(super) fn manager(&self, postgres: tokio_postgres::Config, login: &Arc<Login>) -> Manager {
        (self.manager)(postgres, self.mode, Arc::clone(login))
    }

    /// Has the server cancel what runs on a connection.
    pub(super) async fn cancel(&self, token: CancelToken) {
        const CANCEL_MAX: Duration = Duration::from_secs(5);
        match tokio::time::timeout(CANCEL_MAX, (self.cancel)(token)).await {
            Ok(Ok(())) => {}
            // The server's own time-outs are the net under it.
            failed => tracing::debug!(?failed, "what a caller gave up could not be cancelled"),
        }
    }
}

/// Whether it can be done without TLS.
#[cfg(any(test, not(feature = "tls")))]
fn needs_no_feature(terms: &TlsTerms) -> Result<(), Error> {
    let Some(option) = terms.asks_for else { return Ok(()) };
    let message = format!(
        "`{option}` needs TLS: compile cache-sync with its feature `tls`, or give ClientBuilder::tls a connector"
    );
    Err(Error::new(crate::error::ErrorKind::Config, message))
}

/// How a pool connects: as all others do, with the password of that moment. Whoever needs the connection first may be of another runtime,
/// which may end or stand still long before it.
struct PoolConnect<T> {
    tls: T,
    mode: SslMode,
    login: Arc<Login>,
    /// Where the client was made.
    runtime: Handle,
}

impl<T: Tls> deadpool_postgres::Connect for PoolConnect<T> {
    fn connect(
        &self,
        config: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>> {
        let (config, tls, mode, login) = (config.clone(), self.tls.clone(), self.mode, self.login.clone());
        let connecting = OwnedTask(self.runtime.spawn(async move {
            let ready = login.ready_for_pool(&config).await?;
            let (client, connection) = open(&tls, mode, ready).await.map_err(|error| match error {
                NotOpened::Driver(error) => error,
                NotOpened::Unready(error) => login.refuse(login.unready(CONNECTING, error)),
            })?;
            let driver = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection of the pool broke");
                }
            });
            Ok((client, driver))
        }));
        Box::pin(async move {
            let connected = connecting.join().await;
            // The runtime has ended, of which everybody is told.
            connected.unwrap_or_else(|_| Err(self.login.refuse(Error::closed())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClientConfig;

    fn terms(dsn: &str) -> TlsTerms {
        ClientConfig::new(dsn).unwrap_or_else(|error| panic!("{dsn}: {error}")).primary.tls
    }

    #[test]
    fn without_the_feature_what_needs_tls_says_so() {
        for option in ["sslmode=require", "sslmode=verify-ca", "sslmode=verify-full", "sslrootcert=/x", "sslcert=/x"] {
            let error = needs_no_feature(&terms(&format!("host=h password=secret {option}"))).unwrap_err();
            let (said, name) = (error.to_string(), option.split('=').next().unwrap());
            assert!(said.contains("feature `tls`") && said.contains(&format!("`{name}`")), "{said}");
            assert!(!error.is_unavailable() && !said.contains("secret"));
        }
        for dsn in ["host=h", "host=h sslmode=disable", "host=h sslmode=allow", "postgres://h?sslmode=prefer"] {
            assert!(needs_no_feature(&terms(dsn)).is_ok(), "{dsn}");
        }
    }

    /// A connector of the user's does what the DSN asks for, with the feature or without it.
    #[test]
    fn a_connector_of_ones_own_needs_no_feature() {
        let own = Connector::new(Given(NoTls));
        let mode = SslMode::VerifyFull;
        let connector = Connector::for_server(Some(&own), mode, &terms("host=h sslmode=verify-full sslrootcert=/x"));
        assert_eq!(connector.map(|connector| connector.mode).ok(), Some(mode));
    }
}
