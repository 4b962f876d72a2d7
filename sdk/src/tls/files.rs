//! Which files say whom to trust, and what is in a file.

use crate::config::tls::{Roots, SslMode, TlsTerms};
use crate::error::{Error, ErrorKind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// More than any of the files has: a bundle of all the world's roots has a thirtieth of it.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Whom a server's certificate has to be signed by.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Anybody,
    Platform,
    File(PathBuf),
}

/// The files of one connection, but for the client's own.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) trust: Trust,
    pub(super) crl: Option<PathBuf>,
}

impl Files {
    /// Those that are named, and for the others those in `home` if they are there.
    ///
    /// # Errors
    /// What is named makes no sense without what is not there.
    pub(super) fn of(terms: &TlsTerms, home: Home<'_>) -> Result<Files, Unfit> {
        let trust = match &terms.roots {
            Some(Roots::System) => Trust::Platform,
            Some(Roots::File(path)) => Trust::File(path.clone()),
            None => match home.file("sslrootcert", "root.crt")? {
                Some(path) => Trust::File(path),
                None if terms.mode == SslMode::VerifyFull => Trust::Platform,
                // Of the platform's roots anybody gets a certificate of some name.
                None if terms.mode == SslMode::VerifyCa => {
                    return Err(Unfit::because(
                        "sslmode",
                        "`sslmode=verify-ca` needs the roots that are meant: `sslrootcert`, or ~/.postgresql/root.crt",
                    ));
                }
                None => Trust::Anybody,
            },
        };
        let crl = match (&terms.crl, &trust) {
            // Who names one wants it to be looked at.
            (Some(_), Trust::Anybody) => {
                return Err(Unfit::because(
                    "sslcrl",
                    "`sslcrl` is of no use without roots: `sslrootcert`, or ~/.postgresql/root.crt",
                ));
            }
            (None, Trust::Anybody) => None,
            (Some(path), _) => Some(path.clone()),
            (None, _) => home.file("sslcrl", "root.crl")?,
        };
        Ok(Files { trust, crl })
    }
}

/// Where libpq looks for files that are not named, if there is such a place.
#[derive(Clone, Copy)]
pub(super) struct Home<'a>(pub(super) Option<&'a Path>);

impl Home<'_> {
    /// The file of this name, if it is there.
    pub(super) fn file(self, option: &'static str, name: &str) -> Result<Option<PathBuf>, Unfit> {
        let Some(path) = self.0.map(|home| home.join(name)) else { return Ok(None) };
        match path.try_exists() {
            Ok(exists) => Ok(exists.then_some(path)),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
            Err(error) => Err(Unfit::file(option, &path, &error.to_string())),
        }
    }
}

/// The certificates of a file, of which there is one at least.
pub(super) fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    parts(option, path, "it holds no certificate in PEM")
}

/// The revocation lists of a file, of which there is one at least: by none nobody is revoked.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Unfit> {
    parts("sslcrl", path, "it holds no revocation list in PEM")
}

fn parts<T: PemObject>(option: &'static str, path: &Path, none: &str) -> Result<Vec<T>, Unfit> {
    let text = read(option, path, |_| Ok(()))?;
    let parts: Result<Vec<T>, _> = T::pem_slice_iter(&text).collect();
    match parts {
        Ok(parts) if !parts.is_empty() => Ok(parts),
        Ok(_) => Err(Unfit::file(option, path, none)),
        Err(error) => Err(Unfit::file(option, path, &error.to_string())),
    }
}

/// What is in a file that passes the check.
pub(super) fn read(
    option: &'static str,
    path: &Path,
    check: impl Fn(&Metadata) -> Result<(), &'static str>,
) -> Result<Vec<u8>, Unfit> {
    let failed = |error: io::Error| Unfit::file(option, path, &error.to_string());
    let wrong = |why| Unfit::file(option, path, why);
    let is_regular = |file: &Metadata| if file.is_file() { Ok(()) } else { Err("it is not a regular file") };
    // Merely to open another one may take as long as it likes.
    is_regular(&std::fs::metadata(path).map_err(failed)?).map_err(wrong)?;
    let file = File::open(path).map_err(failed)?;
    // Of the file that is open, whatever has its name by now.
    let opened = file.metadata().map_err(failed)?;
    is_regular(&opened).and_then(|()| check(&opened)).map_err(wrong)?;
    let mut text = Vec::new();
    // What is behind might be what a part of it is missing without.
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong("it has more than 16 MiB"));
    }
    Ok(text)
}

/// Why there can be no TLS, or none with the client's certificate.
#[derive(Debug)]
pub(super) struct Unfit {
    /// Which option says what cannot be used, or leaves it unsaid.
    pub(super) option: Option<&'static str>,
    pub(super) error: Error,
}

impl Unfit {
    pub(super) fn because(option: &'static str, why: &str) -> Unfit {
        Unfit { option: Some(option), error: Error::new(ErrorKind::Config, why) }
    }

    pub(super) fn caused(option: &'static str, message: String, cause: rustls::Error) -> Unfit {
        Unfit { option: Some(option), error: Error::caused(ErrorKind::Config, message, cause) }
    }

    /// It says which file is at fault, and who named it.
    pub(super) fn file(option: &'static str, path: &Path, why: &str) -> Unfit {
        Unfit::because(option, &format!("{} (`{option}`) cannot be used: {why}", path.display()))
    }

    /// Whether the connection need not fail for it: where it may be without TLS, files that nobody has named may be worth nothing.
    pub(super) fn may_be(&self, terms: &TlsTerms) -> bool {
        let is_named = match self.option {
            Some("sslrootcert") => terms.roots.is_some(),
            Some("sslcrl") => terms.crl.is_some(),
            // The one is of no use without the other.
            Some("sslcert" | "sslkey") => terms.cert.is_some() || terms.key.is_some(),
            _ => true,
        };
        !terms.mode.needs_tls() && !is_named
    }
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Unfit {
        Unfit { option: None, error }
    }
}

#[cfg(test)]
mod tests;
