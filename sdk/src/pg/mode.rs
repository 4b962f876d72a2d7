//! What a DSN asks of TLS, held against the hosts that it names.

use super::hosts;
use crate::config::Server;
use crate::config::tls::SslMode;
use crate::error::{Error, ErrorKind};
use tokio_postgres::config::{Host, SslNegotiation};

/// How connections to this server are encrypted, of what is said about it. Unix sockets never are; what has an address is none.
///
/// # Errors
/// It cannot be the same for all of its hosts, or cannot be done with them.
pub(crate) fn mode_for(server: &mut Server) -> Result<SslMode, Error> {
    let (mode, postgres) = (server.tls.mode, &mut server.postgres);
    let wrong = |why: &str| Err(Error::new(ErrorKind::Config, why));
    if mode == SslMode::Disable {
        return Ok(mode);
    }
    if !mode.needs_tls() && postgres.get_ssl_negotiation() == SslNegotiation::Direct {
        return wrong("`sslnegotiation=direct` begins with TLS, and needs a `sslmode` that does: `require` or more");
    }
    if postgres.get_hosts().is_empty() {
        // The driver has TLS with those only that have a name.
        for address in postgres.get_hostaddrs().to_vec() {
            postgres.host(address.to_string());
        }
    }
    let hosts = postgres.get_hosts();
    let sockets = hosts.iter().filter(|host| !matches!(host, Host::Tcp(_))).count();
    match (sockets, postgres.get_hostaddrs()) {
        (0, _) => Ok(mode),
        (_, [_, ..]) if mode.needs_tls() => wrong(
            "`hostaddr` says where the server is, and `host` is a path, which is no name to verify it by: name the host, or leave one of them out",
        ),
        (_, [_, ..]) => {
            *postgres = hosts::called_by_address(postgres);
            Ok(mode)
        }
        (sockets, []) if sockets == hosts.len() => Ok(SslMode::Disable),
        (_, []) if mode.needs_tls() => wrong(
            "some hosts of the DSN are unix sockets, which have no TLS, and `sslmode` asks for it: name hosts of one kind",
        ),
        (_, []) => Ok(mode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClientConfig;

    fn server(dsn: &str) -> Server {
        ClientConfig::new(dsn).unwrap_or_else(|error| panic!("{dsn}: {error}")).primary
    }

    /// The driver goes by the address, whatever the host is called.
    #[test]
    fn what_has_an_address_is_no_socket() {
        for (dsn, expected) in [
            ("host=/run", Some(SslMode::Disable)),
            ("host=/run,/tmp", Some(SslMode::Disable)),
            ("host=/run hostaddr=127.0.0.1", None),
            ("host=/run,h hostaddr=127.0.0.1,127.0.0.2", None),
            ("host=/run,h", None),
            ("host=h hostaddr=127.0.0.1", Some(SslMode::Require)),
            ("hostaddr=127.0.0.1", Some(SslMode::Require)),
        ] {
            let mode = |mode| mode_for(&mut server(&format!("{dsn} sslmode={mode}"))).ok();
            assert_eq!(mode("require"), expected, "{dsn}");
            assert_eq!(mode("verify-full").is_some(), expected.is_some(), "{dsn}");
            assert_eq!(mode("disable"), Some(SslMode::Disable), "{dsn}");
        }
        let mut server = server("host=/run hostaddr=127.0.0.1");
        assert_eq!(mode_for(&mut server).ok(), Some(SslMode::Prefer));
        assert_eq!(server.postgres.get_hosts(), [Host::Tcp("127.0.0.1".to_owned())]);
    }

    #[test]
    fn to_begin_with_tls_is_to_need_it() {
        for (mode, is_taken) in [("disable", true), ("allow", false), ("prefer", false), ("require", true)] {
            let mut server = server(&format!("host=h sslnegotiation=direct sslmode={mode}"));
            assert_eq!(mode_for(&mut server).is_ok(), is_taken, "{mode}");
        }
    }
}
