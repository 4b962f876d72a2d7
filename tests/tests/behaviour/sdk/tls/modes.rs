//! Each mode against each kind of server, and what libpq does with the same connection string.

use super::{connected, dsn_with, encrypted};
use cache_sync_tests::certificates::{Authority, let_in, libpq, write};
use cache_sync_tests::logged::Logged;
use cache_sync_tests::{Database, SOON, cluster, start, unsynced, wait_until};

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Connects both ways, and holds them against one another, and against what is to come of it: with TLS, without, or nothing.
async fn assert_comes_to(db: &Database<'_>, options: &str, expected: Option<bool>) {
    let dsn = dsn_with(db, options);
    let (ours, theirs) = (connected(db, &dsn).await, libpq(db.cluster(), &dsn));
    assert_eq!(ours.as_ref().ok(), expected.as_ref(), "{options}: {ours:?}");
    assert_eq!(theirs.as_ref().ok(), expected.as_ref(), "{options}: {theirs:?}");
    if let Err(error) = ours {
        assert!(!error.is_unavailable(), "{options}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_good_enough_for_some() {
    let db = Database::with_extension();
    let root = write(cluster(), "of_nobody.crt", &Authority::new("nobody's").pem());
    for (place, mode) in MODES.into_iter().enumerate() {
        let expected = (place < 3).then_some(false);
        assert_comes_to(&db, &format!("sslmode={mode} sslrootcert={root}"), expected).await;
    }
    assert_comes_to(&db, "", Some(false)).await;
    assert_comes_to(&db, "sslmode=require", None).await;
}

#[tokio::test]
async fn a_certificate_is_held_against_roots_and_names() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let right = write(&cluster, "right.crt", &encrypted(&cluster).pem());
    let wrong = write(&cluster, "wrong.crt", &Authority::new("ours").pem());
    for mode in MODES {
        for (host, fits) in [("db.test", true), ("127.0.0.1", true), ("elsewhere.test", false), ("127.0.0.2", false)] {
            for root in [&right, &wrong] {
                let is_right = root == &right;
                let expected = match mode {
                    "disable" | "allow" => Some(false),
                    // Then without: nobody wanted to be sure.
                    "prefer" => Some(is_right),
                    "require" | "verify-ca" => is_right.then_some(true),
                    _ => (is_right && fits).then_some(true),
                };
                let options = format!("host={host} sslmode={mode} sslrootcert={root}");
                assert_comes_to(&db, &options, expected).await;
            }
        }
    }
    // Without roots there is nothing to hold it against; the platform's know nothing of it.
    for (mode, expected) in
        [("prefer", Some(true)), ("require", Some(true)), ("verify-ca", None), ("verify-full", None)]
    {
        assert_comes_to(&db, &format!("sslmode={mode}"), expected).await;
    }
    assert_comes_to(&db, "", Some(true)).await;
    assert_comes_to(&db, "sslmode=require sslsni=0 ssl_min_protocol_version=TLSv1.3", Some(true)).await;
    assert_comes_to(&db, "sslmode=require ssl_max_protocol_version=TLSv1.2", Some(true)).await;
}

/// Where a mode leaves it open, the server's rules decide.
#[tokio::test]
async fn who_is_not_let_in_one_way_tries_the_other_if_he_may() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let right = write(&cluster, "right.crt", &encrypted(&cluster).pem());
    let wrong = write(&cluster, "wrong.crt", &Authority::new("ours").pem());
    db.psql("CREATE ROLE only_with LOGIN SUPERUSER; CREATE ROLE only_without LOGIN SUPERUSER");
    let_in(&cluster, "hostnossl all only_with 0.0.0.0/0 reject\nhostssl all only_without 0.0.0.0/0 reject");
    let is_refused = async || libpq(&cluster, &dsn_with(&db, "user=only_with sslmode=disable")).is_err();
    wait_until(SOON, "the server knows its rules", is_refused).await;
    for (place, mode) in MODES.into_iter().enumerate() {
        let with = |options: &str| format!("sslmode={mode} {options}");
        let (may_encrypt, may_not) = (place > 0, place < 3);
        let of_right = format!("user=only_with sslrootcert={right}");
        assert_comes_to(&db, &with(&of_right), may_encrypt.then_some(true)).await;
        assert_comes_to(&db, &with(&format!("user=only_with sslrootcert={wrong}")), None).await;
        assert_comes_to(&db, &with(&format!("user=only_without sslrootcert={right}")), may_not.then_some(false)).await;
    }
}

/// What is done without is said.
#[tokio::test]
async fn a_handshake_that_fails_is_in_the_log() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let right = write(&cluster, "right.crt", &encrypted(&cluster).pem());
    let wrong = write(&cluster, "wrong.crt", &Authority::new("ours").pem());
    let logged = Logged::start();
    let said = || logged.with(&["WARN", "the TLS handshake failed"]);
    for (root, is_encrypted) in [(&right, true), (&wrong, false)] {
        assert_eq!(connected(&db, &dsn_with(&db, &format!("sslrootcert={root}"))).await.unwrap(), is_encrypted);
        assert_eq!(said().is_empty(), is_encrypted, "{:?}", said());
    }
    assert!(
        said().iter().all(|line| line.contains("not signed by a root of") && line.contains(&wrong)),
        "{:?}",
        said()
    );
    // A name that is none is no certificate's, and nothing to a server without TLS.
    assert!(!connected(&db, &dsn_with(&db, "host='no name'")).await.unwrap());
    let plain = Database::with_extension();
    let before = said().len();
    assert!(!connected(&plain, &dsn_with(&plain, "host='no name'")).await.unwrap());
    assert_eq!(said().len(), before);
}

/// The address is where the driver goes, whatever the host is called.
#[tokio::test]
async fn a_socket_with_an_address_is_none() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let root = write(&cluster, "root.crt", &encrypted(&cluster).pem());
    let options = |mode: &str| format!("host={} sslrootcert={root} sslmode={mode}", cluster.socket_dir().display());
    assert_comes_to(&db, &options("disable"), Some(false)).await;
    assert_comes_to(&db, &options("allow"), Some(false)).await;
    assert_comes_to(&db, &options("prefer"), Some(true)).await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = connected(&db, &dsn_with(&db, &options(mode))).await.unwrap_err();
        assert!(error.to_string().contains("`hostaddr`") && !error.is_unavailable(), "{mode}: {error}");
    }
}

#[tokio::test]
async fn a_unix_socket_needs_no_tls() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    encrypted(&cluster);
    for mode in MODES {
        let socket = cluster.socket_dir().display();
        let dsn = format!("user=postgres host={socket} port={} dbname={} sslmode={mode}", cluster.port(), db.name());
        assert!(!connected(&db, &dsn).await.unwrap_or_else(|error| panic!("{mode}: {error}")));
        assert_eq!(libpq(&cluster, &dsn), Ok(false), "{mode}");
    }
    let mixed = format!(
        "user=postgres host={0},localhost port={1} sslmode=require",
        cluster.socket_dir().display(),
        cluster.port()
    );
    let error = connected(&db, &mixed).await.unwrap_err();
    assert!(error.to_string().contains("unix sockets") && !error.is_unavailable(), "{error}");
}
