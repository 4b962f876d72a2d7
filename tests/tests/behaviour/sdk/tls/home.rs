//! Files that no connection string names, where libpq looks for them.

use super::{dsn_with, encrypted};
use cache_sync::Client;
use cache_sync_tests::certificates::{Authority, let_in, libpq_of, write};
use cache_sync_tests::rows::close;
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the other process connects to.
const DSN: &str = "CACHE_SYNC_TESTS_DSN";
/// Where it is at home, and which roots its platform trusts.
type Environment<'a> = [(&'a str, &'a Path); 2];

/// The environment is a process's own, so another one connects in it: this test, once more. What it says if it cannot.
fn connects(dsn: &str, environment: Environment<'_>) -> Result<(), String> {
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["--exact", "sdk::tls::home::files_are_where_libpq_looks_for_them"]);
    let output = other.env(DSN, dsn).envs(environment).env_remove("SSL_CERT_DIR").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

#[tokio::test]
async fn files_are_where_libpq_looks_for_them() {
    if let Ok(dsn) = std::env::var(DSN) {
        close(Client::builder(&dsn).connect().await.unwrap_or_else(|error| panic!("{error}"))).await;
        return;
    }
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let authority = encrypted(&cluster);
    db.psql("CREATE ROLE shown LOGIN SUPERUSER");
    let_in(&cluster, "hostssl all shown 0.0.0.0/0 cert\nhostnossl all shown 0.0.0.0/0 reject");
    let bare = cluster.socket_dir().join("bare");
    let is_refused = async || libpq_of(&cluster, &dsn_with(&db, "user=shown"), &bare).is_err();
    wait_until(SOON, "the server knows its rules", is_refused).await;

    let (right, wrong) = (authority.pem(), Authority::new("ours").pem());
    let client = authority.client("shown", 1);
    let no_root = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let full = [("root.crt", &right), ("postgresql.crt", &client.cert), ("postgresql.key", &client.key)];
    let homes = [
        ("bare", &[][..]),
        ("of_right", &[("root.crt", &right)][..]),
        ("of_wrong", &[("root.crt", &wrong)]),
        ("full", &full),
        ("without_key", &full[..2]),
        ("of_no_root", &[("root.crt", &no_root)]),
    ];
    let no_roots = write(&cluster, "none.crt", &wrong);
    for (home, files) in homes {
        fs::create_dir_all(cluster.socket_dir().join(home).join(".postgresql")).unwrap();
        for (name, text) in files {
            write(&cluster, &format!("{home}/.postgresql/{name}"), text);
        }
        let at_home = cluster.socket_dir().join(home);
        for (options, good) in [
            ("sslmode=require", &["bare", "of_right", "full"][..]),
            ("sslmode=verify-ca", &["of_right", "full"]),
            ("sslmode=verify-full", &["of_right", "full"]),
            ("sslmode=require user=shown", &["full"]),
        ] {
            let dsn = dsn_with(&db, options);
            let ours = connects(&dsn, [("HOME", &at_home), ("SSL_CERT_FILE", Path::new(&no_roots))]);
            let theirs = libpq_of(&cluster, &dsn, &at_home);
            assert_eq!(
                (ours.is_ok(), theirs.is_ok()),
                (good.contains(&home), good.contains(&home)),
                "{home} {options}: {ours:?} {theirs:?}"
            );
        }
    }
    who_says_nothing_needs_none_of_that(&db, &no_roots);
    the_platforms_roots_count(&db, [&right, &wrong]);
}

/// Who asks for no TLS is connected, whatever lies there. libpq fails where there is no key.
fn who_says_nothing_needs_none_of_that(db: &Database<'_>, no_roots: &str) {
    for home in ["bare", "of_right", "of_wrong", "full", "without_key", "of_no_root"] {
        let at_home = db.cluster().socket_dir().join(home);
        for options in ["", "sslmode=allow", "sslmode=prefer"] {
            let dsn = dsn_with(db, options);
            let ours = connects(&dsn, [("HOME", &at_home), ("SSL_CERT_FILE", Path::new(no_roots))]);
            assert_eq!(ours, Ok(()), "{home} {options}");
        }
    }
}

/// libpq has none of them before PostgreSQL 16, and then only if it is told.
fn the_platforms_roots_count(db: &Database<'_>, [right, wrong]: [&str; 2]) {
    let (cluster, bare) = (db.cluster(), db.cluster().socket_dir().join("bare"));
    let (trusted, no_roots) = (write(cluster, "platform.crt", right), write(cluster, "others.crt", wrong));
    for (options, roots, says) in [
        ("sslmode=verify-full", &trusted, None),
        ("sslrootcert=system", &trusted, None),
        ("sslmode=verify-full host=elsewhere.test", &trusted, Some("not for elsewhere.test")),
        ("sslmode=verify-full", &no_roots, Some("not signed by a root of the platform")),
        ("sslrootcert=system", &no_roots, Some("not signed by a root of the platform")),
        ("sslmode=verify-ca", &trusted, Some("`sslrootcert`")),
        ("sslmode=require sslcrl=/nowhere/l", &trusted, Some("`sslcrl`")),
    ] {
        let ours = connects(&dsn_with(db, options), [("HOME", &bare), ("SSL_CERT_FILE", Path::new(roots))]);
        assert_eq!(ours.is_ok(), says.is_none(), "{options}: {ours:?}");
        assert!(ours.err().is_none_or(|said| says.is_some_and(|says| said.contains(says))), "{options}");
    }
}
