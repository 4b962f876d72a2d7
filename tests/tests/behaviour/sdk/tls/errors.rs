//! What an error says when there is no connection with TLS.

use super::{connected, dsn_with, encrypted};
use cache_sync_tests::certificates::{Authority, serve, write};
use cache_sync_tests::{Database, cluster, start, unsynced};

#[tokio::test]
async fn the_cause_is_named() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let right = write(&cluster, "right.crt", &encrypted(&cluster).pem());
    let wrong = write(&cluster, "wrong.crt", &Authority::new("ours").pem());
    let none = write(&cluster, "none.crt", "");
    for (options, says) in [
        (format!("sslmode=verify-ca sslrootcert={wrong}"), vec!["not signed by a root of", &*wrong]),
        (
            format!("host=elsewhere.test sslmode=verify-full sslrootcert={right}"),
            vec!["not for elsewhere.test", "db.test"],
        ),
        (format!("host=127.0.0.9 sslmode=verify-full sslrootcert={right}"), vec!["not for 127.0.0.9"]),
        (format!("sslmode=require sslrootcert={none}"), vec!["`sslrootcert`", &*none, "no certificate"]),
        (
            "sslmode=require sslcert=/nowhere/c sslkey=/nowhere/k".to_owned(),
            vec!["`sslcert`", "/nowhere/c", "No such file"],
        ),
        (format!("sslmode=require sslcert={right} sslkey=/nowhere/k"), vec!["`sslkey`", "/nowhere/k", "No such file"]),
        (
            format!("sslmode=require sslrootcert={right} sslcrl=/nowhere/l"),
            vec!["`sslcrl`", "/nowhere/l", "No such file"],
        ),
        (format!("host='no name' sslmode=require sslrootcert={right}"), vec!["invalid dns name"]),
    ] {
        let error = connected(&db, &dsn_with(&db, &options)).await.unwrap_err();
        for words in says {
            assert!(error.to_string().contains(words), "{options}: {error}");
        }
        assert!(!error.is_unavailable() && !error.is_retryable(), "{options}: {error:?}");
    }
}

/// libpq goes on without what is not there, and verifies nothing then.
#[tokio::test]
async fn a_file_that_is_named_must_be_there_in_every_mode() {
    let db = Database::with_extension();
    for mode in ["allow", "prefer", "require", "verify-ca", "verify-full"] {
        let options = format!("sslmode={mode} sslrootcert=/nowhere/root.crt");
        let error = connected(&db, &dsn_with(&db, &options)).await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/root.crt") && !error.is_unavailable(), "{mode}: {error}");
    }
    assert!(!connected(&db, &dsn_with(&db, "sslmode=disable sslrootcert=/nowhere/root.crt")).await.unwrap());
}

#[tokio::test]
async fn a_server_without_tls_is_said_to_be_one() {
    let db = Database::with_extension_in(cluster());
    let error = connected(&db, &dsn_with(&db, "sslmode=require")).await.unwrap_err();
    assert!(error.to_string().contains("does not support TLS") && !error.is_unavailable(), "{error}");
}

/// Only alternative names count, as everywhere else by now; libpq would take the common name where there are none.
#[tokio::test]
async fn a_certificate_without_names_is_for_nobody() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let authority = Authority::new("ours");
    serve(&cluster, &authority.server(&[]), &authority.pem(), &authority.pem());
    let root = write(&cluster, "root.crt", &authority.pem());
    assert!(connected(&db, &dsn_with(&db, &format!("sslmode=verify-ca sslrootcert={root}"))).await.unwrap());
    let options = format!("host=server sslmode=verify-full sslrootcert={root}");
    let error = connected(&db, &dsn_with(&db, &options)).await.unwrap_err();
    assert!(error.to_string().contains("subjectAltName"), "{error}");
}
