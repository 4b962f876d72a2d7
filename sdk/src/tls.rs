//! TLS as libpq does it, from the files that a DSN names or that are where libpq looks for them.
//!
//! ```text
//! files      whom to trust, and what is in a file    verify      what a server's certificate has to be
//! platform   the roots that the platform trusts      handshakes  what became of them
//! identity   the client's own certificate            fault       why there was no connection
//! ```
//! The files are read for each connection that is made: certificates are renewed while a client works, and a handshake costs many times more.

mod fault;
mod files;
mod handshakes;
mod identity;
mod platform;
mod verify;

use crate::common::trouble::Seldom;
use crate::config::tls::{Protocol, TlsTerms};
use crate::error::{Error, ErrorKind};
pub(crate) use fault::said;
use files::{Files, Home, Unfit};
pub(crate) use handshakes::Handshakes;
use identity::Identity;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex as AsyncMutex;
use tokio_postgres_rustls::MakeRustlsConnect;
use verify::Verifier;

/// What proxies and later servers are told that is spoken inside.
const PROTOCOL: &[u8] = b"postgresql";

/// Makes TLS connections as a DSN wants them.
#[derive(Clone, Debug)]
pub(crate) struct FromFiles(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    terms: TlsTerms,
    /// Held while the files are read: where that takes forever, it keeps one thread, and not all that the runtime has.
    reading: Arc<AsyncMutex<()>>,
    without_said: Seldom,
    identity_said: Seldom,
}

impl FromFiles {
    pub(crate) fn new(terms: TlsTerms) -> FromFiles {
        let shared = Shared {
            terms,
            reading: Arc::default(),
            without_said: Seldom::default(),
            identity_said: Seldom::default(),
        };
        FromFiles(Arc::new(shared))
    }

    /// For a connection that is made now. Whoever waits for it says how long.
    ///
    /// # Errors
    /// One that names the option and the file.
    pub(crate) async fn ready(&self) -> Result<Handshakes, Error> {
        self.ready_at(home()).await
    }

    async fn ready_at(&self, home: Option<PathBuf>) -> Result<Handshakes, Error> {
        let shared = &self.0;
        // It goes on when nobody waits any more.
        let reading = Arc::clone(&shared.reading).lock_owned().await;
        let terms = shared.terms.clone();
        // Files may lie on a network.
        let read = tokio::task::spawn_blocking(move || {
            let _reading = reading;
            client_config(&terms, home.as_deref())
        });
        match read.await.map_err(|_| Error::closed())? {
            Ok(Prepared { config, unused }) => {
                if let Some((error, not_said)) = unused.zip(shared.identity_said.kept_back()) {
                    tracing::warn!(error = %error.logged(), not_said, "the client's own certificate cannot be used; connecting without it");
                }
                Ok(Handshakes::new(MakeRustlsConnect::new(config)))
            }
            Err(unfit) if unfit.may_be(&shared.terms) => Ok(Handshakes::impossible(&unfit.error.to_string())),
            Err(unfit) => Err(unfit.error),
        }
    }

    /// Says that a connection has no TLS for this reason.
    pub(crate) fn say_without(&self, error: &str) {
        if let Some(not_said) = self.0.without_said.kept_back() {
            tracing::warn!(
                error,
                not_said,
                "the TLS handshake failed; connected without TLS, as sslmode=prefer has it"
            );
        }
    }
}

/// Where libpq looks for files that are not named.
fn home() -> Option<PathBuf> {
    if cfg!(windows) {
        return std::env::var_os("APPDATA").map(|data| Path::new(&data).join("postgresql"));
    }
    std::env::home_dir().map(|home| home.join(".postgresql"))
}

/// What a connection is made with.
#[derive(Debug)]
struct Prepared {
    config: ClientConfig,
    /// Why the client's own certificate is not, which nobody has named.
    unused: Option<Error>,
}

fn client_config(terms: &TlsTerms, home: Option<&Path>) -> Result<Prepared, Unfit> {
    let unusable = |error| Error::caused(ErrorKind::Config, format!("TLS cannot be set up: {error}"), error);
    let (provider, home) = (Arc::new(ring::default_provider()), Home(home));
    let files = Files::of(terms, home)?;
    let verifier = Verifier::new(terms, &files, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&versions(terms)).map_err(unusable)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let identity = Identity::of(terms, home);
    let shown = identity.and_then(|known| known.map(|identity| identity.shown(builder.clone())).transpose());
    let (mut config, unused) = match shown {
        Ok(Some(config)) => (config, None),
        Ok(None) => (builder.with_no_client_auth(), None),
        Err(unfit) if unfit.may_be(terms) => (builder.with_no_client_auth(), Some(unfit.error)),
        Err(unfit) => return Err(unfit),
    };
    config.enable_sni = terms.sends_host;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Postgres resumes no sessions.
    config.resumption = Resumption::disabled();
    Ok(Prepared { config, unused })
}

fn versions(terms: &TlsTerms) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(Protocol::Tls12, &TLS12), (Protocol::Tls13, &TLS13)];
    let range = terms.oldest..=terms.newest;
    all.into_iter().filter(|(version, _)| range.contains(version)).map(|(_, version)| version).collect()
}

#[cfg(test)]
mod tests;
