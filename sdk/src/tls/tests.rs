use super::files::{Files, Trust};
use super::*;
use crate::config::tls::SslMode;
use std::fs;

/// An empty directory that is gone with the test.
pub(super) struct Dir(pub(super) PathBuf);

impl Dir {
    pub(super) fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("cache-sync-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn terms(mode: SslMode) -> TlsTerms {
    TlsTerms::of(mode)
}

fn refusal(terms: &TlsTerms, home: Option<&Path>) -> String {
    client_config(terms, home).expect_err("these cannot be used").error.to_string()
}

#[test]
fn without_files_the_mode_says_whom_to_trust() {
    for home in [None, Some(Path::new("/nowhere")), Some(Path::new("/dev/null"))] {
        let trust = |mode| Files::of(&terms(mode), Home(home)).unwrap().trust;
        assert_eq!(trust(SslMode::Allow), Trust::Anybody);
        assert_eq!(trust(SslMode::Prefer), Trust::Anybody);
        assert_eq!(trust(SslMode::Require), Trust::Anybody);
        assert_eq!(trust(SslMode::VerifyFull), Trust::Platform);
        assert!(refusal(&terms(SslMode::VerifyCa), home).contains("`sslrootcert`"));
    }
}

#[test]
fn what_is_in_the_home_counts_unless_others_are_named() {
    let dir = Dir::new("home");
    let (root, other) = (dir.file("root.crt", ""), PathBuf::from("/other.crt"));
    let files = |terms: &TlsTerms| Files::of(terms, Home(Some(&dir.0))).unwrap();
    for mode in [SslMode::Allow, SslMode::Prefer, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        assert_eq!(files(&terms(mode)).trust, Trust::File(root.clone()), "{mode:?}");
    }
    assert_eq!(files(&terms(SslMode::Require)).crl, None);
    let crl = dir.file("root.crl", "");
    assert_eq!(files(&terms(SslMode::Require)).crl, Some(crl));
    let named = TlsTerms { roots: Some(crate::config::tls::Roots::File(other.clone())), ..terms(SslMode::Require) };
    assert_eq!(files(&named).trust, Trust::File(other));
    // Not even read, where there is none of it.
    let platform = TlsTerms { roots: Some(crate::config::tls::Roots::System), ..terms(SslMode::VerifyFull) };
    assert_eq!(files(&platform).trust, Trust::Platform);
}

#[test]
fn a_file_that_is_named_is_there_or_said() {
    let nowhere = || Some(PathBuf::from("/nowhere/file"));
    let require = terms(SslMode::Require);
    let dir = Dir::new("named");
    let garbage = dir.file("garbage", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n");
    let roots = |path: &Path| Some(crate::config::tls::Roots::File(path.to_owned()));
    for (terms, says) in [
        (TlsTerms { roots: roots(Path::new("/nowhere/file")), ..require.clone() }, "/nowhere/file (`sslrootcert`)"),
        (TlsTerms { roots: roots(&garbage), ..require.clone() }, "garbage (`sslrootcert`)"),
        (TlsTerms { roots: roots(&dir.file("empty", "")), ..require.clone() }, "no certificate"),
        (TlsTerms { cert: nowhere(), ..require.clone() }, "`sslkey`"),
        (TlsTerms { key: nowhere(), ..require.clone() }, "`sslcert`"),
        (TlsTerms { cert: nowhere(), key: nowhere(), ..require }, "/nowhere/file (`sslcert`)"),
    ] {
        let said = refusal(&terms, None);
        assert!(said.contains(says), "{said}");
    }
}

/// Who owns it matters, too; the tests may run as anybody.
#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = Dir::new("key");
    let cert = dir.file("cert", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    let key = dir.file("key", "none");
    let is_roots = fs::metadata(&key).unwrap().uid() == 0;
    let require = TlsTerms { cert: Some(cert.clone()), key: Some(key.clone()), ..terms(SslMode::Require) };
    for (mode, is_kept) in
        [(0o600, true), (0o400, true), (0o640, is_roots), (0o620, false), (0o604, false), (0o644, false)]
    {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let said = refusal(&require, None);
        assert_eq!(said.contains("others may read it"), !is_kept, "{mode:o}: {said}");
        assert_eq!(said.contains("no private key"), is_kept, "{mode:o}: {said}");
        assert!(said.contains(&format!("{} (`sslkey`)", key.display())), "{said}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n").unwrap();
    assert!(refusal(&require, None).contains("encrypted"));
    let is_a_directory = TlsTerms { key: Some(dir.0.clone()), ..require };
    assert!(refusal(&is_a_directory, None).contains("regular file"));
}

#[tokio::test]
async fn the_files_are_read_by_one_at_a_time() {
    let tls = FromFiles::new(terms(SslMode::Require));
    let reading = tls.0.reading.clone().lock_owned().await;
    let asked: Vec<_> =
        (0..9).map(|_| tls.clone()).map(|tls| tokio::spawn(async move { tls.ready_at(None).await.is_ok() })).collect();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert!(asked.iter().all(|asked| !asked.is_finished()), "somebody reads beside the one who does");
    // Who gives up leaves the line to the others.
    asked[0].abort();
    drop(reading);
    for asked in asked.into_iter().skip(1) {
        assert!(asked.await.unwrap());
    }
}

/// Another crate may have the feature: what works without it works with it.
#[tokio::test]
async fn what_nobody_has_named_fails_nobody_who_may_do_without() {
    let dir = Dir::new("unnamed");
    let tls = |mode| FromFiles::new(terms(mode));
    let ready = async |tls: FromFiles| tls.ready_at(Some(dir.0.clone())).await;
    let (cert, root) = ("postgresql.crt", "root.crt");
    for (name, is_to_verify) in [(cert, false), (root, true)] {
        let path = dir.file(name, "-----BEGIN CERTIFICATE-----\n");
        for mode in [SslMode::Allow, SslMode::Prefer] {
            let ready = ready(tls(mode)).await.unwrap_or_else(|error| panic!("{name} {mode:?}: {error}"));
            assert_eq!(ready.is_possible(), !is_to_verify, "{name} {mode:?}");
        }
        assert!(ready(tls(SslMode::Require)).await.is_err(), "{name}");
        let mut named = terms(SslMode::Prefer);
        match is_to_verify {
            true => named.roots = Some(crate::config::tls::Roots::File(path.clone())),
            false => named.cert = Some(path.clone()),
        }
        assert!(ready(FromFiles::new(named)).await.is_err(), "{name}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn only_versions_within_the_bounds_are_spoken() {
    let of = |oldest, newest| versions(&TlsTerms { oldest, newest, ..terms(SslMode::Require) });
    assert_eq!(of(Protocol::Older, Protocol::Tls13), [&TLS12, &TLS13]);
    assert_eq!(of(Protocol::Tls13, Protocol::Tls13), [&TLS13]);
    assert_eq!(of(Protocol::Tls12, Protocol::Tls12), [&TLS12]);
}

/// What is not asked for is not sent, and what Postgres has no use for is not kept.
#[test]
fn the_host_is_sent_unless_it_is_not_to_be() {
    let sends = |sends_host| {
        client_config(&TlsTerms { sends_host, ..terms(SslMode::Require) }, None).unwrap().config.enable_sni
    };
    assert!(sends(true) && !sends(false));
    assert_eq!(client_config(&terms(SslMode::Require), None).unwrap().config.alpn_protocols, [PROTOCOL]);
}
