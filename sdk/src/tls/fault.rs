//! Why there was no connection, in words.

use super::verify::Refused;
use rustls::{AlertDescription, CertificateError, OtherError};
use std::error::Error;
use std::io;

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
