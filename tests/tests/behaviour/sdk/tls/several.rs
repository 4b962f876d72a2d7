//! Connection strings with several hosts: what is wrong with one says nothing of another.

use super::{HOSTS, connected, encrypted, encryption};
use cache_sync::Client;
use cache_sync_tests::certificates::{Authority, let_in, libpq, serve, write};
use cache_sync_tests::rows::{accounts, close, make_accounts, open};
use cache_sync_tests::{Database, SOON, start, unsynced, wait_until};

/// The first host has moved on, and shows another's certificate; the second one is the right one.
#[tokio::test]
async fn of_several_hosts_each_is_verified() {
    let (former, cluster) = (start(unsynced()), start(unsynced()));
    let stranger = Authority::new("another's");
    serve(&former, &stranger.server(&HOSTS), &stranger.pem(), &stranger.pem());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    // All that a client could want, but for the rows.
    former.createdb(db.name()).unwrap();
    former.psql(db.name(), "CREATE EXTENSION cache_sync").unwrap();
    let root = write(&cluster, "several.crt", &encrypted(&cluster).pem());
    let (name, ports) = (db.name(), (former.port(), cluster.port()));
    let dsn = format!(
        "postgresql://postgres@localhost:{},127.0.0.1:{}/{name}?sslmode=verify-full&sslrootcert={root}",
        ports.0, ports.1
    );
    let client = open(Client::builder(&dsn)).await;
    assert!(accounts(&client).await.get(&1).await.unwrap().is_some());
    assert_eq!(encryption(&db, "cache_sync"), "t");
    close(client).await;
}

/// The first host's certificate fits no more, so without TLS is all that is left there. That is no reason to be let in without at the second.
#[tokio::test]
async fn one_without_tls_does_not_take_it_from_another() {
    let (first, second) = (start(unsynced()), start(unsynced()));
    let stranger = Authority::new("another's");
    serve(&first, &stranger.server(&HOSTS), &stranger.pem(), &stranger.pem());
    let db = Database::with_extension_in(&second);
    let root = write(&second, "several.crt", &encrypted(&second).pem());
    db.psql("CREATE ROLE asked LOGIN SUPERUSER PASSWORD 'secret'");
    let_in(&first, "hostnossl all all 0.0.0.0/0 reject");
    let_in(&second, "hostssl all asked 0.0.0.0/0 scram-sha-256\nhostnossl all asked 0.0.0.0/0 trust");
    let at = |ports: &str, options: &str| {
        let hosts = if ports.contains(',') {
            "host=db.test,db.test hostaddr=127.0.0.1,127.0.0.1"
        } else {
            "host=db.test hostaddr=127.0.0.1"
        };
        format!("{hosts} port={ports} user=asked dbname={} sslrootcert={root} {options}", db.name())
    };
    let plain =
        |port: u16| format!("host=127.0.0.1 port={port} user=asked password=wrong dbname=postgres sslmode=disable");
    let are_known =
        async || libpq(&first, &plain(first.port())).is_err() && libpq(&second, &plain(second.port())).is_ok();
    wait_until(SOON, "the servers know their rules", are_known).await;

    let both = format!("{},{}", first.port(), second.port());
    let came = connected(&db, &at(&both, "password=secret")).await;
    assert!(matches!(came, Ok(true)), "{came:?}");
    // The server has answered: it is the password that is wrong.
    let error = connected(&db, &at(&both, "password=wrong sslmode=prefer")).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("28P01"), "{error}");
    // The other way round it is no reason either.
    let_in(&second, "hostssl all asked 0.0.0.0/0 trust\nhostnossl all asked 0.0.0.0/0 scram-sha-256");
    let are_known = async || libpq(&second, &plain(second.port())).is_err();
    wait_until(SOON, "the server knows its rules", are_known).await;
    let twice = format!("{0},{0}", second.port());
    let error = connected(&db, &at(&twice, "password=wrong sslmode=allow")).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("28P01"), "{error}");
}

/// As libpq does: each host in the order that the mode has.
#[tokio::test]
async fn each_is_tried_both_ways() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    let wrong = write(&cluster, "wrong.crt", &Authority::new("ours").pem());
    encrypted(&cluster);
    db.psql("CREATE ROLE only_with LOGIN SUPERUSER");
    let_in(&cluster, "hostnossl all only_with 0.0.0.0/0 reject");
    let hosts = format!(
        "host=db.test,db.test hostaddr=127.0.0.1,127.0.0.1 port=1,{} dbname={} application_name=several",
        cluster.port(),
        db.name()
    );
    let is_refused = async || libpq(&cluster, &format!("{hosts} user=only_with sslmode=disable")).is_err();
    wait_until(SOON, "the server knows its rules", is_refused).await;
    for (options, expected) in [
        ("user=only_with sslmode=allow".to_owned(), Some(true)),
        ("user=postgres sslmode=allow".to_owned(), Some(false)),
        ("user=postgres".to_owned(), Some(true)),
        (format!("user=postgres sslrootcert={wrong}"), Some(false)),
        (format!("user=only_with sslrootcert={wrong}"), None),
    ] {
        let dsn = format!("{hosts} {options}");
        let (ours, theirs) = (connected(&db, &dsn).await, libpq(&cluster, &dsn));
        assert_eq!(
            (ours.as_ref().ok(), theirs.as_ref().ok()),
            (expected.as_ref(), expected.as_ref()),
            "{options}: {ours:?} {theirs:?}"
        );
    }
}
