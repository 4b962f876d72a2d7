use super::super::tests::Dir;
use super::*;
use std::fs;

/// Nothing would be checked against it.
#[test]
fn a_revocation_list_is_one_or_said() {
    let dir = Dir::new("crl");
    let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let none = [dir.file("empty", ""), dir.file("der", "\x30\x02\x01\x02"), dir.file("certificate", pem)];
    for file in &none {
        let said = revocation_lists(file).expect_err("it is none").error.to_string();
        assert!(said.contains("no revocation list") && said.contains(&file.display().to_string()), "{said}");
    }
    let crl = |mode| TlsTerms { crl: Some(none[0].clone()), ..TlsTerms::of(mode) };
    for mode in [SslMode::Allow, SslMode::Prefer, SslMode::Require] {
        // It is named: there is nothing that it could be of use for.
        let unfit = Files::of(&crl(mode), Home(None)).expect_err("nobody signs");
        assert!(unfit.error.to_string().contains("`sslcrl` is of no use without roots"), "{mode:?}");
    }
}

#[test]
fn what_is_too_long_is_not_cut() {
    let dir = Dir::new("long");
    let file = dir.file("file", "");
    for (bytes, is_read) in [(16 << 20, true), ((16 << 20) + 1, false)] {
        fs::File::options().write(true).open(&file).unwrap().set_len(bytes).unwrap();
        let read = read("sslcrl", &file, |_| Ok(()));
        assert_eq!(read.is_ok(), is_read, "{bytes}");
        assert!(read.err().is_none_or(|unfit| unfit.error.to_string().contains("16 MiB")));
    }
}

/// Another one may have no end, or nobody who ever begins.
#[cfg(unix)]
#[test]
fn only_regular_files_are_opened() {
    let dir = Dir::new("regular");
    let pipe = dir.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for path in [pipe, dir.0.clone(), PathBuf::from("/dev/zero")] {
        let (send, answers) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(certificates("sslrootcert", &path)));
        let answer = answers.recv_timeout(std::time::Duration::from_secs(20)).expect("it does not come back");
        assert!(answer.expect_err("there is none").error.to_string().contains("regular file"));
    }
}
