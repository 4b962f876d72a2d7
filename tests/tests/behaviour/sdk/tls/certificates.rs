//! Certificates that are out of the ordinary.

use super::{HOSTS, connected, dsn_with};
use cache_sync_tests::certificates::{Authority, libpq, self_signed, serve, write};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};

/// Servers sign their own certificates, and clients have these as their root.
#[tokio::test]
async fn a_server_may_be_its_own_root() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let itself = self_signed(&HOSTS, false);
    serve(&cluster, &itself, &itself.cert, &itself.cert);
    let (root, other) = (write(&cluster, "own.crt", &itself.cert), self_signed(&HOSTS, false).cert);
    let other = write(&cluster, "other.crt", &other);
    for (options, is_taken) in [
        (format!("sslmode=verify-ca sslrootcert={root}"), true),
        (format!("sslmode=verify-full sslrootcert={root}"), true),
        (format!("host=elsewhere.test sslmode=verify-ca sslrootcert={root}"), true),
        (format!("host=elsewhere.test sslmode=verify-full sslrootcert={root}"), false),
        (format!("sslmode=verify-ca sslrootcert={other}"), false),
    ] {
        let dsn = dsn_with(&db, &options);
        let (ours, theirs) = (connected(&db, &dsn).await, libpq(&cluster, &dsn));
        assert_eq!((ours.is_ok(), theirs.is_ok()), (is_taken, is_taken), "{options}: {ours:?} {theirs:?}");
    }
}

#[tokio::test]
async fn what_has_expired_or_was_revoked_is_not_trusted() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let authority = Authority::new("ours");
    let root = write(&cluster, "root.crt", &authority.pem());
    serve(&cluster, &authority.numbered_server(&HOSTS, 7), &authority.pem(), &authority.pem());
    for (revoked, says) in [(8, None), (7, Some("revoked"))] {
        let list = write(&cluster, "root.crl", &authority.revoke(&[revoked]));
        let dsn = dsn_with(&db, &format!("sslmode=verify-full sslrootcert={root} sslcrl={list}"));
        let (ours, theirs) = (connected(&db, &dsn).await, libpq(&cluster, &dsn));
        assert_eq!((ours.is_ok(), theirs.is_ok()), (says.is_none(), says.is_none()), "{ours:?} {theirs:?}");
        assert!(ours.err().is_none_or(|error| says.is_some_and(|says| error.to_string().contains(says))));
    }
    // By no list, or by what is none, nobody would be revoked.
    for (text, says) in [("", "no revocation list"), (&*authority.pem(), "no revocation list")] {
        let list = write(&cluster, "root.crl", text);
        let dsn = dsn_with(&db, &format!("sslmode=verify-full sslrootcert={root} sslcrl={list}"));
        let error = connected(&db, &dsn).await.unwrap_err();
        assert!(error.to_string().contains(says) && error.to_string().contains(&list), "{error}");
    }
    // Of its own root, too.
    let (expired, itself) = (authority.expired_server(&HOSTS), self_signed(&HOSTS, true));
    for (identity, root) in [(&expired, &authority.pem()), (&itself, &itself.cert)] {
        serve(&cluster, identity, root, root);
        let root = write(&cluster, "root.crt", root);
        let dsn = dsn_with(&db, &format!("sslmode=verify-ca sslrootcert={root}"));
        let has_expired = async || match connected(&db, &dsn).await {
            Err(error) => error.to_string().contains("expired") && !error.is_unavailable(),
            Ok(_) => false,
        };
        wait_until(SOON, "its dates are known to be over", has_expired).await;
        assert!(libpq(&cluster, &dsn).is_err());
    }
}
