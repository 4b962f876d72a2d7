//! What a DSN says about TLS, in libpq's terms.

use crate::error::{Error, ErrorKind};
use std::path::PathBuf;

/// The options that are read here; the driver knows the first one in part, and none of the others.
pub(super) const OPTIONS: [&str; 8] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
];

/// How much a connection is protected; each more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    const ALL: [(&str, SslMode); 6] = [
        ("disable", SslMode::Disable),
        ("allow", SslMode::Allow),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];

    /// What the driver's own settings say.
    pub(super) fn of(mode: tokio_postgres::config::SslMode) -> SslMode {
        match mode {
            tokio_postgres::config::SslMode::Disable => SslMode::Disable,
            tokio_postgres::config::SslMode::Prefer => SslMode::Prefer,
            // Should there be more of them one day, then stricter ones.
            _ => SslMode::Require,
        }
    }

    fn named(name: &str) -> Result<SslMode, Error> {
        let mode = SslMode::ALL.into_iter().find_map(|(known, mode)| (known == name).then_some(mode));
        mode.ok_or_else(|| {
            let names = SslMode::ALL.map(|(name, _)| name).join(", ");
            invalid("sslmode", &format!("it is one of {names}"))
        })
    }

    /// Whether a connection without TLS will not do.
    pub(crate) fn needs_tls(self) -> bool {
        self >= SslMode::Require
    }
}

/// Whose signature a server's certificate needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// That of a root that the platform trusts.
    System,
    /// That of a root in this file.
    File(PathBuf),
}

/// A version of the protocol. Those before TLS 1.2 are not spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Older,
    Tls12,
    Tls13,
}

impl Protocol {
    const ALL: [(&str, Protocol); 4] = [
        ("tlsv1", Protocol::Older),
        ("tlsv1.1", Protocol::Older),
        ("tlsv1.2", Protocol::Tls12),
        ("tlsv1.3", Protocol::Tls13),
    ];

    fn named(option: &'static str, name: &str) -> Result<Protocol, Error> {
        let name = name.to_ascii_lowercase();
        let version = Protocol::ALL.into_iter().find_map(|(known, version)| (known == name).then_some(version));
        version.ok_or_else(|| invalid(option, "it is one of TLSv1.2, TLSv1.3"))
    }
}

/// What a DSN asks for. Files that it does not name may be where libpq looks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only the feature reads the files"))]
pub(crate) struct TlsTerms {
    pub(crate) mode: SslMode,
    pub(crate) roots: Option<Roots>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) crl: Option<PathBuf>,
    /// Whether the server is told which host is meant before the connection is encrypted.
    pub(crate) sends_host: bool,
    pub(crate) oldest: Protocol,
    pub(crate) newest: Protocol,
    /// The first option in it that makes no sense without TLS.
    pub(crate) asks_for: Option<&'static str>,
}

impl TlsTerms {
    /// Nothing but how much the connection is protected.
    pub(crate) fn of(mode: SslMode) -> TlsTerms {
        TlsTerms {
            mode,
            roots: None,
            cert: None,
            key: None,
            crl: None,
            sends_host: true,
            oldest: Protocol::Tls12,
            newest: Protocol::Tls13,
            asks_for: mode.needs_tls().then_some("sslmode"),
        }
    }

    /// Of what was said twice the later counts, and a file without a name is as good as none.
    pub(super) fn new(said: Vec<(&'static str, String)>) -> Result<TlsTerms, Error> {
        let value = |name: &str| said.iter().rev().find(|(option, _)| *option == name).map(|(_, value)| value.as_str());
        let file = |name: &str| value(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let version = |name: &'static str| {
            let given = value(name).filter(|version| !version.is_empty());
            given.map(|version| Protocol::named(name, version)).transpose()
        };
        let roots = match file("sslrootcert") {
            Some(name) if name.as_os_str() == "system" => Some(Roots::System),
            name => name.map(Roots::File),
        };
        let mode = match value("sslmode") {
            Some(name) => SslMode::named(name)?,
            None if roots == Some(Roots::System) => SslMode::VerifyFull,
            None => SslMode::Prefer,
        };
        let sends_host = match value("sslsni") {
            None | Some("1" | "") => true,
            Some("0") => false,
            Some(_) => return Err(invalid("sslsni", "it is 0 or 1")),
        };
        let asks_for = OPTIONS.into_iter().find(|option| match *option {
            "sslmode" => mode.needs_tls(),
            option => value(option).is_some() && mode != SslMode::Disable,
        });
        let terms = TlsTerms {
            roots,
            cert: file("sslcert"),
            key: file("sslkey"),
            crl: file("sslcrl"),
            sends_host,
            oldest: version("ssl_min_protocol_version")?.unwrap_or(Protocol::Tls12),
            newest: version("ssl_max_protocol_version")?.unwrap_or(Protocol::Tls13),
            asks_for,
            ..TlsTerms::of(mode)
        };
        terms.check().map(|()| terms)
    }

    fn check(&self) -> Result<(), Error> {
        if self.roots == Some(Roots::System) && self.mode != SslMode::VerifyFull {
            // Anybody gets a certificate that such a root has signed, of some name.
            return Err(wrong(Some("`sslrootcert=system` goes with `sslmode=verify-full` only")));
        }
        if self.newest < self.oldest.max(Protocol::Tls12) {
            return Err(wrong(Some(
                "no version of TLS is left by `ssl_min_protocol_version` and `ssl_max_protocol_version`; there are TLSv1.2 and TLSv1.3",
            )));
        }
        Ok(())
    }
}

/// The error for a value that an option cannot have.
pub(super) fn invalid(option: &'static str, why: &str) -> Error {
    wrong(Some(&format!("invalid value for option `{option}`: {why}")))
}

/// The error that says what is wrong with a connection string.
pub(super) fn wrong(why: Option<&str>) -> Error {
    let message = "the DSN is not a valid Postgres connection string".to_owned();
    Error::new(ErrorKind::Config, why.map_or(message.clone(), |why| format!("{message}: {why}")))
}
