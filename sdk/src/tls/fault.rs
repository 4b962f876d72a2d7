//! Why there was no connection, in words.

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, OtherError};
use std::error::Error;
use std::sync::Arc;
use std::{fmt, io};

/// What TLS says of it, if it was TLS.
pub(crate) fn said(error: &tokio_postgres::Error) -> Option<String> {
    let mut cause: &dyn Error = error;
    loop {
        cause = cause.source()?;
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return io.get_ref()?.downcast_ref().map(words);
        }
    }
}

fn words(error: &rustls::Error) -> String {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown,
        DecryptError, UnknownCA, UnsupportedCertificate,
    };
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            cause.downcast_ref::<Refused>().map_or_else(|| error.to_string(), Refused::to_string)
        }
        rustls::Error::AlertReceived(
            alert @ (AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRequired
            | CertificateRevoked
            | CertificateUnknown
            | DecryptError
            | UnknownCA
            | UnsupportedCertificate),
        ) => format!("the server does not take the client's certificate: {alert:?}"),
        rustls::Error::AlertReceived(alert) => format!("the server ended the TLS handshake: {alert:?}"),
        error => error.to_string(),
    }
}

/// Why a certificate is not taken whose roots are of this origin.
pub(super) fn refusal(error: rustls::Error, host: &ServerName<'_>, origin: &str) -> rustls::Error {
    let rustls::Error::InvalidCertificate(error) = error else { return error };
    refused(match &error {
        // By one who has the name of a root, and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("it is not signed by a root of {origin}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("it is for {}, not for {}", shown(presented), host.to_str())
        }
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::UnknownRevocationStatus => "the revocation lists say nothing of its issuer".to_owned(),
        error => why(error),
    })
}

/// Why a server's certificate is not taken, in a sentence.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

fn refused(why: String) -> rustls::Error {
    let refused = Refused(format!("the server's certificate cannot be trusted: {why}"));
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
}

/// The same, if it is about the certificate.
pub(super) fn in_words(error: rustls::Error) -> rustls::Error {
    match error {
        rustls::Error::InvalidCertificate(error) => refused(why(&error)),
        error => error,
    }
}

fn why(error: &CertificateError) -> String {
    match cause(error) {
        Some(webpki::Error::UnsupportedCertVersion) => {
            "it is of an old version of X.509; there must be extensions in it".to_owned()
        }
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "it is an authority's, and not itself a root that is trusted".to_owned()
        }
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}

/// What has no name of its own in rustls.
pub(super) fn cause(error: &CertificateError) -> Option<&webpki::Error> {
    match error {
        CertificateError::Other(OtherError(cause)) => cause.downcast_ref(),
        _ => None,
    }
}

/// The names that a certificate is for.
fn shown(presented: &[String]) -> String {
    match presented {
        [] => "no host by its subjectAltName, and nothing else counts".to_owned(),
        names => names.join(", "),
    }
}
