//! Which files count, and what is in them.

use crate::config::tls::{Roots, SslMode, TlsTerms};
use crate::error::{Error, ErrorKind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
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

/// The files of one connection.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) trust: Trust,
    pub(super) crl: Option<PathBuf>,
    /// Of the client: its certificate, and the key to that.
    cert: Option<(PathBuf, PathBuf)>,
}

impl Files {
    /// Those that are named, and for the others those in `home` if they are there.
    ///
    /// # Errors
    /// What is named makes no sense without what is not there.
    pub(super) fn of(terms: &TlsTerms, home: Option<&Path>) -> Result<Files, Error> {
        let in_home = |option, name| in_home(home, option, name);
        let trust = match &terms.roots {
            Some(Roots::System) => Trust::Platform,
            Some(Roots::File(path)) => Trust::File(path.clone()),
            None => match in_home("sslrootcert", "root.crt")? {
                Some(path) => Trust::File(path),
                None if terms.mode == SslMode::VerifyFull => Trust::Platform,
                // Of the platform's roots anybody gets a certificate of some name.
                None if terms.mode == SslMode::VerifyCa => {
                    return Err(config(
                        "`sslmode=verify-ca` needs the roots that are meant: `sslrootcert`, or ~/.postgresql/root.crt",
                    ));
                }
                None => Trust::Anybody,
            },
        };
        let crl = match (&terms.crl, &trust) {
            (_, Trust::Anybody) => None,
            (Some(path), _) => Some(path.clone()),
            (None, _) => in_home("sslcrl", "root.crl")?,
        };
        let cert = terms.cert.clone().map_or_else(|| in_home("sslcert", "postgresql.crt"), |path| Ok(Some(path)))?;
        let key = terms.key.clone().map_or_else(|| in_home("sslkey", "postgresql.key"), |path| Ok(Some(path)))?;
        let cert = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (Some(cert), None) => {
                return Err(config(&format!("the certificate {} needs its private key: `sslkey`", cert.display())));
            }
            (None, Some(_)) if terms.key.is_some() => {
                return Err(config("`sslkey` is of no use without its certificate: `sslcert`"));
            }
            (None, _) => None,
        };
        Ok(Files { trust, crl, cert })
    }

    /// The client's own certificate, with those between it and its root, and its key.
    pub(super) fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, Error> {
        let Some((cert, key)) = &self.cert else { return Ok(None) };
        let chain = certificates("sslcert", cert)?;
        let text = read("sslkey", key, keeps_secrets)?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
            let is_encrypted = String::from_utf8_lossy(&text).contains("ENCRYPTED");
            let why = if is_encrypted {
                "it is encrypted; a key without a passphrase is needed"
            } else {
                "it holds no private key in PEM"
            };
            unusable("sslkey", key, why)
        });
        key.map(|key| Some((chain, key)))
    }

    /// Certificate and key were read, but cannot be used.
    pub(super) fn misfit(&self, error: rustls::Error) -> Error {
        let (cert, key) = self
            .cert
            .as_ref()
            .map_or_else(Default::default, |(cert, key)| (cert.display().to_string(), key.display().to_string()));
        let message =
            format!("the certificate {cert} (`sslcert`) cannot be used with the key {key} (`sslkey`): {error}");
        Error::caused(ErrorKind::Config, message, error)
    }
}

/// The file of this name, if it is there.
fn in_home(home: Option<&Path>, option: &'static str, name: &str) -> Result<Option<PathBuf>, Error> {
    let Some(path) = home.map(|home| home.join(name)) else { return Ok(None) };
    match path.try_exists() {
        Ok(exists) => Ok(exists.then_some(path)),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(unusable(option, &path, &error.to_string())),
    }
}

/// The certificates of a file, of which there is one at least.
pub(super) fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(option, path, |_| Ok(()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable(option, path, "it holds no certificate in PEM")),
        Err(error) => Err(unusable(option, path, &error.to_string())),
    }
}

/// The revocation lists of a file.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let text = read("sslcrl", path, |_| Ok(()))?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    lists.map_err(|error| unusable("sslcrl", path, &error.to_string()))
}

fn read(
    option: &'static str,
    path: &Path,
    check: impl Fn(&Metadata) -> Result<(), &'static str>,
) -> Result<Vec<u8>, Error> {
    let failed = |error: io::Error| unusable(option, path, &error.to_string());
    let file = File::open(path).map_err(failed)?;
    // Of the file that is open, whatever has its name by now.
    check(&file.metadata().map_err(failed)?).map_err(|why| unusable(option, path, why))?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// As libpq has it: nobody else may read a key; where it is root's, a group may.
fn keeps_secrets(file: &Metadata) -> Result<(), &'static str> {
    if !file.is_file() {
        return Err("it is not a regular file");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let others = if file.uid() == 0 { 0o037 } else { 0o077 };
        if file.mode() & others != 0 {
            return Err("others may read it; it must be 0600 or less, or 0640 or less where it is root's");
        }
    }
    Ok(())
}

fn config(message: &str) -> Error {
    Error::new(ErrorKind::Config, message)
}

/// The error that says which file is at fault, and who named it.
pub(super) fn unusable(option: &'static str, path: &Path, why: &str) -> Error {
    config(&format!("{} (`{option}`) cannot be used: {why}", path.display()))
}
