//! An application that makes its TLS connections itself.

use super::{dsn_with, encrypted, encryption};
use cache_sync::{Client, Error};
use cache_sync_tests::certificates::Authority;
use cache_sync_tests::gate::Gate;
use cache_sync_tests::rows::close;
use cache_sync_tests::{Database, start, unsynced};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;

fn trusting(authority: &Authority) -> MakeRustlsConnect {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The driver's own for no TLS at all: it does not ask the server for any.
#[tokio::test]
async fn who_has_none_does_not_ask_for_it() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    encrypted(&cluster);
    let gate = Gate::start(cluster.port(), true).await;
    let dsn = format!("host=127.0.0.1 port={} user=postgres dbname={}", gate.port, db.name());
    close(Client::builder(&dsn).tls(NoTls).connect().await.unwrap()).await;
    let (encrypted, plain) = gate.seen();
    assert!(encrypted == 0 && plain > 0, "{encrypted} {plain}");
}

async fn connected(db: &Database<'_>, options: &str, tls: MakeRustlsConnect) -> Result<String, Error> {
    let client = Client::builder(&dsn_with(db, options)).tls(tls).connect().await?;
    let encrypted = encryption(db, "cache_sync");
    close(client).await;
    Ok(encrypted)
}

#[tokio::test]
async fn its_connector_counts_and_the_files_are_not_read() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let (right, wrong) = (encrypted(&cluster), Authority::new("ours"));
    let files = "sslrootcert=/nowhere/root.crt sslcert=/nowhere/c sslkey=/nowhere/k";
    // Whether with TLS is still the mode's to say; what is verified then is not.
    for (mode, of_right, of_wrong) in [
        ("disable", Some("f"), Some("f")),
        ("allow", Some("f"), Some("f")),
        // Not without, where there is TLS that it does not trust: who verifies by himself wants to be sure.
        ("prefer", Some("t"), None),
        ("", Some("t"), None),
        ("require", Some("t"), None),
        ("verify-ca", Some("t"), None),
        ("verify-full", Some("t"), None),
    ] {
        for (authority, expected) in [(&right, of_right), (&wrong, of_wrong)] {
            let mode = if mode.is_empty() { String::new() } else { format!("sslmode={mode}") };
            let came = connected(&db, &format!("{mode} {files}"), trusting(authority)).await;
            assert_eq!(came.as_deref().ok(), expected, "{mode}: {came:?}");
        }
    }
    let error = connected(&db, "", trusting(&wrong)).await.unwrap_err();
    assert!(!error.is_unavailable() && error.to_string().contains("invalid peer certificate"), "{error}");
    // It verifies what it verifies, here the name.
    let other_host = format!("host=elsewhere.test sslmode=require {files}");
    assert!(connected(&db, &other_host, trusting(&right)).await.is_err());
}
