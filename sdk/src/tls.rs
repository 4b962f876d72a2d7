//! TLS as libpq does it, from the files that a DSN names or that are where libpq looks for them.
//!
//! ```text
//! files      which files, and who may read them
//! platform   the roots that the platform trusts
//! verify     what a server's certificate has to be
//! fault      why there was no connection
//! ```
//! The files are read for each connection that is made: certificates are renewed while a client works, and a handshake costs many times more.

mod fault;
mod files;
mod platform;
mod verify;

use crate::config::tls::{Protocol, TlsTerms};
use crate::error::{Error, ErrorKind};
pub(crate) use fault::said;
use files::Files;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;
use verify::Verifier;

/// What proxies and later servers are told that is spoken inside.
const PROTOCOL: &[u8] = b"postgresql";

/// Makes TLS connections as a DSN wants them.
#[derive(Clone, Debug)]
pub(crate) struct FromFiles(Arc<TlsTerms>);

impl FromFiles {
    pub(crate) fn new(terms: TlsTerms) -> FromFiles {
        FromFiles(Arc::new(terms))
    }

    /// For connections that are made now.
    ///
    /// # Errors
    /// One that names the option and the file.
    pub(crate) async fn ready(&self) -> Result<MakeRustlsConnect, Error> {
        let terms = Arc::clone(&self.0);
        // Files may lie on a network.
        let read = tokio::task::spawn_blocking(move || client_config(&terms, home().as_deref()));
        Ok(MakeRustlsConnect::new(read.await.map_err(|_| Error::closed())??))
    }
}

/// Where libpq looks for files that are not named.
fn home() -> Option<PathBuf> {
    if cfg!(windows) {
        return std::env::var_os("APPDATA").map(|data| Path::new(&data).join("postgresql"));
    }
    std::env::home_dir().map(|home| home.join(".postgresql"))
}

fn client_config(terms: &TlsTerms, home: Option<&Path>) -> Result<ClientConfig, Error> {
    let unusable = |error| Error::caused(ErrorKind::Config, format!("TLS cannot be set up: {error}"), error);
    let provider = Arc::new(ring::default_provider());
    let files = Files::of(terms, home)?;
    let verifier = Verifier::new(terms, &files, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&versions(terms)).map_err(unusable)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match files.identity()? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| files.misfit(error))?,
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = terms.sends_host;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Postgres resumes no sessions.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn versions(terms: &TlsTerms) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(Protocol::Tls12, &TLS12), (Protocol::Tls13, &TLS13)];
    let range = terms.oldest..=terms.newest;
    all.into_iter().filter(|(version, _)| range.contains(version)).map(|(_, version)| version).collect()
}

#[cfg(test)]
mod tests;
