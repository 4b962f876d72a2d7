//! Who the client is: its own certificate, and the key to that.

use super::files::{Home, Unfit, certificates, read};
use crate::config::tls::TlsTerms;
use rustls::client::WantsClientCert;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder};
use std::fs::Metadata;
use std::path::PathBuf;

/// The certificate with those between it and its root, and its key.
pub(super) struct Identity {
    cert: PathBuf,
    key: PathBuf,
}

impl Identity {
    /// That which is named, or else lies in `home`.
    pub(super) fn of(terms: &TlsTerms, home: Home<'_>) -> Result<Option<Identity>, Unfit> {
        let cert = terms.cert.clone().map_or_else(|| home.file("sslcert", "postgresql.crt"), |path| Ok(Some(path)))?;
        let key = terms.key.clone().map_or_else(|| home.file("sslkey", "postgresql.key"), |path| Ok(Some(path)))?;
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Some(Identity { cert, key })),
            (Some(cert), None) => Err(Unfit::because(
                "sslcert",
                &format!("the certificate {} needs its private key: `sslkey`", cert.display()),
            )),
            (None, Some(_)) if terms.key.is_some() => {
                Err(Unfit::because("sslkey", "`sslkey` is of no use without its certificate: `sslcert`"))
            }
            (None, _) => Ok(None),
        }
    }

    /// The client shows it to servers that ask.
    pub(super) fn shown(&self, builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> Result<ClientConfig, Unfit> {
        let Identity { cert, key } = self;
        let chain = certificates("sslcert", cert)?;
        let text = read("sslkey", key, keeps_secrets)?;
        let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
            let is_encrypted = String::from_utf8_lossy(&text).contains("ENCRYPTED");
            let why = if is_encrypted {
                "it is encrypted; a key without a passphrase is needed"
            } else {
                "it holds no private key in PEM"
            };
            Unfit::file("sslkey", key, why)
        })?;
        builder.with_client_auth_cert(chain, secret).map_err(|error| {
            let (cert, key) = (cert.display(), key.display());
            Unfit::caused(
                "sslcert",
                format!("the certificate {cert} (`sslcert`) cannot be used with the key {key} (`sslkey`): {error}"),
                error,
            )
        })
    }
}

/// As libpq has it: nobody else may read a key; where it is root's, a group may.
fn keeps_secrets(file: &Metadata) -> Result<(), &'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let others = if file.uid() == 0 { 0o037 } else { 0o077 };
        if file.mode() & others != 0 {
            return Err("others may read it; it must be 0600 or less, or 0640 or less where it is root's");
        }
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}
