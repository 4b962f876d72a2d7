//! How new connections are let in: with which password, and what it means when they are not.

use crate::common::lock::lock;
use crate::config::{ClientConfig, Credentials};
use crate::error::{Error, ErrorKind, Step, root_cause};
use crate::store::within;
use cache_sync_core::sqlstate::Fault;
use deadpool_postgres::{HookError, PoolError, TimeoutType};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_postgres::config::Host;

/// How the connections of a client are let in.
pub(crate) struct Login {
    credentials: Option<Arc<dyn Credentials>>,
    timeout: Duration,
    /// Why it was not even tried to connect the last time: what a pool hands on can only be an error of the driver's.
    refused: Mutex<Option<Error>>,
    /// The client was let in once: what it says of itself was right, and may be again.
    is_established: AtomicBool,
}

impl Login {
    pub(crate) fn new(config: &ClientConfig) -> Login {
        Login {
            credentials: config.credentials.clone(),
            timeout: config.connect_timeout,
            refused: Mutex::default(),
            is_established: AtomicBool::new(false),
        }
    }

    /// The client has been let in.
    pub(crate) fn established(&self) {
        self.is_established.store(true, Ordering::Release);
    }

    /// The configuration with the password of this moment.
    pub(super) async fn ready(&self, postgres: &tokio_postgres::Config) -> Result<tokio_postgres::Config, Error> {
        const STEP: Step = "asking for the password";
        let mut ready = postgres.clone();
        if let Some(credentials) = &self.credentials {
            let password = within(STEP, self.timeout, async {
                let password = AssertUnwindSafe(credentials.password()).catch_unwind().await;
                let password = password.unwrap_or_else(|_| Err("the credentials have panicked".into()));
                password.map_err(|error| {
                    let message = format!("{STEP}: {error}");
                    Error::caused(ErrorKind::Unavailable, message, Boxed(error))
                })
            });
            ready.password(password.await?);
        }
        Ok(ready)
    }

    /// As [`Login::ready`], for those who can only hand on an error of the driver's.
    pub(super) async fn ready_for_pool(
        &self,
        postgres: &tokio_postgres::Config,
    ) -> Result<tokio_postgres::Config, tokio_postgres::Error> {
        match self.ready(postgres).await {
            Ok(ready) => Ok(ready),
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// An error of the driver's that stands for this one; [`Login::no_connection`] knows it again.
    pub(super) fn refuse(&self, error: Error) -> tokio_postgres::Error {
        *lock(&self.refused) = Some(error);
        STANDS_FOR_ANOTHER.parse::<tokio_postgres::Config>().expect_err("there is no such option")
    }

    /// Why no connection could be had of a pool.
    pub(super) fn no_connection(&self, step: Step, postgres: &tokio_postgres::Config, error: PoolError) -> Error {
        let unavailable = |what: &str| Error::new(ErrorKind::Unavailable, format!("{step}: {what}"));
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                let refused = lock(&self.refused).clone().filter(|_| error.to_string().contains("connection string"));
                refused.unwrap_or_else(|| self.not_connected(step, postgres, error))
            }
            PoolError::Closed => Error::closed(),
            PoolError::Timeout(TimeoutType::Wait) => unavailable("no connection of the pool became free in time"),
            PoolError::Timeout(_) => {
                unavailable(&format!("{} does not answer within {:?}", address(postgres), self.timeout))
            }
            error => {
                let message = format!("{step}: no connection to Postgres: {}", root_cause(&error));
                Error::caused(ErrorKind::Unavailable, message, error)
            }
        }
    }

    /// Why a connection could not be made: the message says the cause; it is unavailable only if that can pass.
    pub(super) fn not_connected(
        &self,
        step: Step,
        postgres: &tokio_postgres::Config,
        error: tokio_postgres::Error,
    ) -> Error {
        let cause = error.as_db_error().map_or_else(|| cause(&error), |db| db.message().to_owned());
        let message = format!("{step}: {} cannot be used: {cause}", address(postgres));
        let kind = match error.code().map(|code| Fault::of(code.code())) {
            Some(Fault::Login) if self.is_established.load(Ordering::Acquire) => ErrorKind::Unavailable,
            Some(fault) if fault.passes() || fault == Fault::WrongServer => ErrorKind::Unavailable,
            Some(_) => ErrorKind::Config,
            // Certificates are renewed as passwords are.
            None if can_pass(&error) || self.is_established.load(Ordering::Acquire) => ErrorKind::Unavailable,
            None => ErrorKind::Config,
        };
        Error::caused(kind, message, error)
    }

    /// Why it was not even tried: the files of TLS cannot be used. Those of a client that was let in once are being replaced.
    pub(super) fn unready(&self, step: Step, error: Error) -> Error {
        let is_established = self.is_established.load(Ordering::Acquire);
        let kind = if is_established { ErrorKind::Unavailable } else { error.kind() };
        Error::caused(kind, format!("{step}: {error}"), error)
    }
}

/// What is at the bottom of it, in words.
pub(super) fn cause(error: &tokio_postgres::Error) -> String {
    #[cfg(feature = "tls")]
    if let Some(said) = crate::tls::said(error) {
        return said;
    }
    root_cause(error)
}

/// What the driver takes for an option that it does not know.
const STANDS_FOR_ANOTHER: &str = "cache_sync_has_no_connection=1";

/// Whether it is the network's fault, and not that of what the DSN or the TLS configuration says.
fn can_pass(error: &tokio_postgres::Error) -> bool {
    let mut cause: &dyn std::error::Error = error;
    let is_alone = cause.source().is_none();
    loop {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            // What TLS makes of a certificate, and of a name that is none.
            return !matches!(io.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput);
        }
        match cause.source() {
            Some(source) => cause = source,
            None => return is_alone,
        }
    }
}

/// Where Postgres was looked for.
fn address(postgres: &tokio_postgres::Config) -> String {
    let ports = postgres.get_ports();
    let port = |place: usize| ports.get(place).or(ports.first()).copied().unwrap_or(5432);
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    };
    let mut hosts: Vec<_> = postgres.get_hosts().iter().map(host).collect();
    if hosts.is_empty() {
        hosts = postgres.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    let hosts: Vec<_> = hosts.iter().enumerate().map(|(place, host)| format!("{host}:{}", port(place))).collect();
    format!("Postgres at {}", hosts.join(", "))
}

/// What the user's code said, as an error of its own.
#[derive(Debug)]
struct Boxed(Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Boxed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Boxed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
