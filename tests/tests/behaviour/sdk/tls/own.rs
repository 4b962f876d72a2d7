//! An application that makes its TLS connections itself.

use super::{dsn_with, encrypted, encryption};
use cache_sync::{Client, Error};
use cache_sync_tests::certificates::Authority;
use cache_sync_tests::rows::close;
use cache_sync_tests::{Database, start, unsynced};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

fn trusting(authority: &Authority) -> MakeRustlsConnect {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth())
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
        ("prefer", Some("t"), Some("f")),
        ("require", Some("t"), None),
        ("verify-ca", Some("t"), None),
        ("verify-full", Some("t"), None),
    ] {
        for (authority, expected) in [(&right, of_right), (&wrong, of_wrong)] {
            let came = connected(&db, &format!("sslmode={mode} {files}"), trusting(authority)).await;
            assert_eq!(came.as_deref().ok(), expected, "{mode}: {came:?}");
        }
    }
    // It verifies what it verifies, here the name.
    let other_host = format!("host=elsewhere.test sslmode=require {files}");
    assert!(connected(&db, &other_host, trusting(&right)).await.is_err());
}
