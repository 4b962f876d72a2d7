use super::*;
use crate::config::tls::{Protocol, Roots, SslMode};

fn said(dsn: &str) -> String {
    read(dsn).err().map(|error| error.to_string()).unwrap_or_default()
}

fn terms(dsn: &str) -> TlsTerms {
    read(dsn).unwrap_or_else(|error| panic!("{dsn}: {error}")).1
}

#[test]
fn an_option_that_is_not_understood_is_named() {
    for (dsn, option) in [
        ("postgres://u:secret@h/d?sslmode=verify", "`sslmode`"),
        ("postgres://u:secret@h/d?sslpassword=x", "`sslpassword`"),
        ("postgres://u:secret@h/d?sslsni=yes", "`sslsni`"),
        ("postgres://u:secret@h/d?ssl_min_protocol_version=SSLv3", "`ssl_min_protocol_version`"),
        ("postgres://u:secret@h/d?sslcert=%ff", "`sslcert`"),
        ("postgres://u:secret@h/d?aplication_name=x", "`aplication_name`"),
        ("host=h password=secret sslcrldir=/crls", "`sslcrldir`"),
        ("host=h sslrootcert=/ca.pem aplication_name=x password=secret", "`aplication_name`"),
        ("host=h sslmode='' password=secret", "`sslmode`"),
        ("host=h port=none", "`port`"),
    ] {
        let said = said(dsn);
        assert!(said.contains(option) && !said.contains("secret"), "{dsn}: {said}");
    }
}

#[test]
fn no_part_of_a_password_is_said() {
    for dsn in [
        "postgres://u:p?word@h/d",
        "postgres://u:p?word=1@h/d",
        "postgres://u:p@word?x=1@h/d",
        "postgres://u:p@word?sslmode=word@h/d",
        "postgres://u:p@word?sslrootcert=/word@h/d",
        "postgres://u:p?sslrootcert=/word@h/d",
        "host=h password=pass word=1",
        "host=h password='pass word' word=1 password=x word=2",
        "host=h password=pass sslmode=word",
        "host=h password='pass word",
        "host=h password=a=b word=2",
        "host=h password=a=b word = 2",
        "host=h password = a=b x=y word=2",
        "host=h password=x://y word=2",
        "host=h password=x://y@z word=2",
        "password=a b=word =word",
        "postgres://u:p/word@h/d?x",
    ] {
        let said = said(dsn);
        assert!(!said.contains("word"), "{dsn}: {said}");
    }
}

#[test]
fn what_it_says_of_tls_is_read_in_both_forms() {
    let file = |path: &str| Some(std::path::PathBuf::from(path));
    for dsn in [
        "postgres://u:p%40@h/d?sslmode=verify-ca&sslrootcert=%2Fa%20b%2Fca.pem&application_name=x&sslcert=/c&sslkey=/k&sslcrl=/l",
        "postgresql://h?user=u&%73slmode=verify-ca&sslcert=/c&sslkey=/k&sslcrl=/l&sslrootcert=/a b/ca.pem&application_name=x&sslsni=1",
        r"host=h user=u sslmode = verify-ca sslrootcert='/a b/ca.pem' sslcert=/c sslkey=/k sslcrl='/l' application_name=x",
        r"sslrootcert=/a\ b/ca.pem sslmode='verify\-ca' host=h sslcert=/c sslkey=/k sslcrl=/l application_name='x' user=u",
        "sslmode=disable host=h user=u sslcert=/c sslkey=/k sslcrl=/l sslrootcert='/a b/ca.pem' sslmode=verify-ca application_name=x",
    ] {
        let terms = terms(dsn);
        assert_eq!((terms.mode, terms.roots), (SslMode::VerifyCa, file("/a b/ca.pem").map(Roots::File)), "{dsn}");
        assert_eq!((terms.cert, terms.key, terms.crl), (file("/c"), file("/k"), file("/l")), "{dsn}");
        let postgres = read(dsn).unwrap().0;
        assert_eq!((postgres.get_user(), postgres.get_application_name()), (Some("u"), Some("x")), "{dsn}");
    }
}

#[test]
fn a_value_is_no_option() {
    for dsn in [
        "postgres://h/d?application_name=sslmode%3Drequire",
        "postgres://u:sslmode=require@h/d?",
        "host=h application_name='sslmode=require sslrootcert=/x'",
        r"host=h application_name=\'\ sslmode=require",
        "host=h password = 'x'",
    ] {
        assert_eq!(terms(dsn), TlsTerms::of(SslMode::Prefer), "{dsn}");
    }
}

/// The driver takes an empty name for the end of the string.
#[test]
fn nothing_behind_an_empty_name_is_lost() {
    for dsn in [
        "host=db user=u password=s = sslmode=verify-full sslrootcert=/r",
        "host=db = sslmode=verify-full",
        "= sslmode=verify-full",
        "sslmode='require'=x host=h",
    ] {
        assert!(said(dsn).contains("without a name"), "{dsn}: {}", said(dsn));
    }
    assert!(read(" \t host = h sslmode=require \n ").is_ok());
}

#[test]
fn what_is_taken_out_leaves_a_blank() {
    for dsn in [
        "user=u sslmode='require'host=h",
        "user='u'sslmode='require'host=h",
        "sslmode=require user=u sslcert='/c'host='h'",
    ] {
        let (postgres, terms) = read(dsn).unwrap();
        assert_eq!((postgres.get_user(), terms.mode), (Some("u"), SslMode::Require), "{dsn}");
        assert_eq!(postgres.get_hosts(), [tokio_postgres::config::Host::Tcp("h".to_owned())], "{dsn}");
    }
}

/// The driver would take all before the `@` for the login, and leave the server unverified.
#[test]
fn an_option_is_not_lost_in_the_login() {
    for (query, option) in [
        ("sslmode=verify-full&application_name=a@b", "`sslmode`"),
        ("ssl=true&application_name=a@b", "`ssl`"),
        ("%73slmode=verify-full&application_name=a@b", "`sslmode`"),
        ("channel_binding=require&application_name=a@b", "`channel_binding`"),
    ] {
        let said = said(&format!("postgres://h/d?{query}"));
        assert!(said.contains(option) && said.contains("%40"), "{query}: {said}");
    }
    assert_eq!(terms("postgres://u@h/d?sslmode=verify-full&application_name=a@b").mode, SslMode::VerifyFull);
}

#[test]
fn the_platforms_roots_go_with_names_only() {
    assert_eq!(terms("host=h sslrootcert=system").mode, SslMode::VerifyFull);
    assert_eq!(terms("postgres://h?sslrootcert=system&sslmode=verify-full").roots, Some(Roots::System));
    for mode in ["disable", "prefer", "require", "verify-ca"] {
        let said = said(&format!("host=h sslrootcert=system sslmode={mode}"));
        assert!(said.contains("`sslmode=verify-full`"), "{mode}: {said}");
    }
}

#[test]
fn versions_are_bounds() {
    let of = |dsn: &str| (terms(dsn).oldest, terms(dsn).newest);
    assert_eq!(of("host=h"), (Protocol::Tls12, Protocol::Tls13));
    assert_eq!(of("host=h ssl_min_protocol_version=TLSv1"), (Protocol::Older, Protocol::Tls13));
    assert_eq!(of("postgres://h?ssl_min_protocol_version=tlsv1.3"), (Protocol::Tls13, Protocol::Tls13));
    assert_eq!(of("host=h ssl_max_protocol_version=TLSv1.2"), (Protocol::Tls12, Protocol::Tls12));
    assert!(said("host=h ssl_max_protocol_version=TLSv1.1").contains("no version"));
    assert!(said("host=h ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2").contains("no version"));
}

#[test]
fn what_needs_tls_is_known() {
    for (dsn, option) in [
        ("host=h", None),
        ("host=h sslmode=allow", None),
        ("host=h sslmode=disable sslrootcert=/x", None),
        ("host=h sslmode=require", Some("sslmode")),
        ("host=h sslrootcert=/x", Some("sslrootcert")),
        ("postgres://h?sslkey=/x", Some("sslkey")),
        ("postgres://h?ssl=true", Some("sslmode")),
    ] {
        assert_eq!(terms(dsn).asks_for, option, "{dsn}");
    }
}
