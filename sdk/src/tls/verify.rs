//! What a server's certificate has to be.

use super::fault;
use super::files::{self, Files, Trust, Unfit};
use super::platform;
use crate::config::tls::{SslMode, TlsTerms};
use crate::error::{Error, ErrorKind};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Takes a server's certificate, or says why not.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Where it has to come from, if that matters.
    chain: Option<Chain>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The way from a root to a certificate.
#[derive(Debug)]
struct Chain {
    verifier: Arc<WebPkiServerVerifier>,
    /// Certificates that are trusted themselves.
    roots: Vec<CertificateDer<'static>>,
    checks_name: bool,
    checks_revocation: bool,
    /// Where the roots come from, as errors say it.
    origin: String,
}

impl Verifier {
    pub(super) fn new(terms: &TlsTerms, files: &Files, provider: &Arc<CryptoProvider>) -> Result<Verifier, Unfit> {
        let chain = match &files.trust {
            Trust::Anybody => None,
            Trust::Platform => Some(Chain::new(terms, files, provider, (platform::roots()?, Vec::new()))?),
            Trust::File(path) => {
                let certificates = files::certificates("sslrootcert", path)?;
                let mut roots = RootCertStore::empty();
                for certificate in &certificates {
                    let added = roots.add(certificate.clone());
                    added.map_err(|error| Unfit::file("sslrootcert", path, &error.to_string()))?;
                }
                Some(Chain::new(terms, files, provider, (Arc::new(roots), certificates))?)
            }
        };
        Ok(Verifier { chain, algorithms: provider.signature_verification_algorithms })
    }
}

impl Chain {
    fn new(
        terms: &TlsTerms,
        files: &Files,
        provider: &Arc<CryptoProvider>,
        (store, roots): (Arc<RootCertStore>, Vec<CertificateDer<'static>>),
    ) -> Result<Chain, Unfit> {
        let mut builder = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(provider));
        if let Some(path) = &files.crl {
            builder = builder.with_crls(files::revocation_lists(path)?).enforce_revocation_expiration();
        }
        let verifier = builder.build().map_err(|error| match (&error, &files.crl) {
            (VerifierBuilderError::InvalidCrl(_), Some(path)) => Unfit::file("sslcrl", path, &error.to_string()),
            _ => Error::caused(ErrorKind::Config, format!("certificates cannot be verified: {error}"), error).into(),
        })?;
        let origin = match &files.trust {
            Trust::File(path) => path.display().to_string(),
            Trust::Platform | Trust::Anybody => "the platform".to_owned(),
        };
        let (checks_name, checks_revocation) = (terms.mode == SslMode::VerifyFull, files.crl.is_some());
        Ok(Chain { verifier, roots, checks_name, checks_revocation, origin })
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match self.verifier.verify_server_cert(certificate, between, host, &[], now) {
            Err(rustls::Error::InvalidCertificate(error)) if self.is_a_root(certificate, &error) => {
                match self.checks_name {
                    true => verify_server_name(&ParsedCertificate::try_from(certificate)?, host),
                    false => Ok(()),
                }
            }
            // Names are looked at once the chain is good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(()),
            verified => verified.map(drop),
        }
    }

    /// Whether it is only wrong in being a root itself: a server that has signed its own certificate is trusted by that, and openssl makes
    /// these as roots. Dates are looked at before.
    fn is_a_root(&self, certificate: &CertificateDer<'_>, error: &CertificateError) -> bool {
        let is_of_a_root = matches!(fault::cause(error), Some(webpki::Error::CaUsedAsEndEntity));
        is_of_a_root && !self.checks_revocation && self.roots.contains(certificate)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            chain
                .verify(certificate, between, host, now)
                .map_err(|error| fault::refusal(error, host, &chain.origin))?;
        }
        Ok(ServerCertVerified::assertion())
    }

    // Whatever is verified of a certificate, the server has to have its key: channel binding relies on that.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms).map_err(fault::in_words)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms).map_err(fault::in_words)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
