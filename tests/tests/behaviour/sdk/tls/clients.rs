//! Servers that want to know who a client is: by certificate, or by a password that is bound to the connection.

use super::{connected, dsn_with, encrypted};
use cache_sync::Client;
use cache_sync_tests::certificates::{Authority, let_in, libpq, write};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn a_certificate_is_shown_to_those_who_ask_for_it() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let authority = encrypted(&cluster);
    db.psql("CREATE ROLE shown LOGIN SUPERUSER; CREATE ROLE asked LOGIN SUPERUSER");
    let_in(&cluster, "hostssl all shown 0.0.0.0/0 cert\nhostssl all asked 0.0.0.0/0 trust clientcert=verify-full");
    let ours = authority.client("shown", 1);
    let (cert, key) = (write(&cluster, "shown.crt", &ours.cert), write(&cluster, "shown.key", &ours.key));
    let stranger = Authority::new("another").client("shown", 1);
    let (strange, its_key) =
        (write(&cluster, "strange.crt", &stranger.cert), write(&cluster, "strange.key", &stranger.key));
    let is_refused = async || libpq(&cluster, &dsn_with(&db, "user=shown sslmode=require")).is_err();
    wait_until(SOON, "the server knows its rules", is_refused).await;
    // What it is connected with, and what an error says.
    for (options, says) in [
        (format!("user=shown sslcert={cert} sslkey={key}"), None),
        ("user=shown".to_owned(), Some("valid client certificate")),
        ("user=asked".to_owned(), Some("valid client certificate")),
        (format!("user=asked sslcert={cert} sslkey={key}"), Some("asked")),
        (format!("user=shown sslcert={cert} sslkey={its_key}"), Some(&*its_key)),
    ] {
        let dsn = dsn_with(&db, &format!("sslmode=require {options}"));
        let (ours, theirs) = (connected(&db, &dsn).await, libpq(&cluster, &dsn));
        assert_eq!((ours.is_ok(), theirs.is_ok()), (says.is_none(), says.is_none()), "{options}: {ours:?} {theirs:?}");
        if let (Err(error), Some(says)) = (ours, says) {
            assert!(error.to_string().contains(says) && !error.is_unavailable(), "{options}: {error:?}");
        }
    }
    // Who hangs up may do so before he has said why.
    let dsn = dsn_with(&db, &format!("user=shown sslmode=require sslcert={strange} sslkey={its_key}"));
    assert!(connected(&db, &dsn).await.is_err() && libpq(&cluster, &dsn).is_err());

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let dsn = dsn_with(&db, &format!("user=shown sslmode=require sslcert={cert} sslkey={key}"));
    let error = connected(&db, &dsn).await.unwrap_err();
    assert!(error.to_string().contains("0600") && error.to_string().contains(&key), "{error}");
    assert!(!error.is_unavailable(), "{error:?}");
    assert!(libpq(&cluster, &dsn).is_err());
}

/// A password that is proven over this connection, and no other: whoever is in between has none of it.
#[tokio::test]
async fn a_password_is_bound_to_the_connection() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let root = write(&cluster, "root.crt", &encrypted(&cluster).pem());
    db.psql("CREATE ROLE bound LOGIN SUPERUSER PASSWORD 'secret'");
    let_in(&cluster, "host all bound 0.0.0.0/0 scram-sha-256");
    let is_asked = async || libpq(&cluster, &dsn_with(&db, "user=bound password=wrong")).is_err();
    wait_until(SOON, "the server asks for passwords", is_asked).await;
    for (options, expected) in [
        (format!("password=secret sslmode=verify-full sslrootcert={root}"), Some(true)),
        ("password=secret sslmode=require".to_owned(), Some(true)),
        // There is nothing to bind it to.
        ("password=secret sslmode=disable".to_owned(), None),
        ("password=wrong sslmode=require".to_owned(), None),
    ] {
        let dsn = dsn_with(&db, &format!("user=bound channel_binding=require {options}"));
        let (ours, theirs) = (connected(&db, &dsn).await, libpq(&cluster, &dsn));
        assert_eq!(
            (ours.as_ref().ok(), theirs.as_ref().ok()),
            (expected.as_ref(), expected.as_ref()),
            "{options}: {ours:?} {theirs:?}"
        );
        assert!(!format!("{ours:?}").contains("secret"));
    }
    // It is not tried without encryption what was refused with it.
    let refused = || {
        std::fs::read_to_string(cluster.log_file()).unwrap().matches("authentication failed for user \"bound\"").count()
    };
    let tries = async |mode: &str| {
        let before = refused();
        let builder = Client::builder(&dsn_with(&db, &format!("user=bound password=wrong sslmode={mode}")));
        assert_eq!(builder.connect().await.unwrap_err().sqlstate(), Some("28P01"));
        refused() - before
    };
    let once = tries("require").await;
    assert_eq!((tries("prefer").await, tries("allow").await), (once, once));
}
