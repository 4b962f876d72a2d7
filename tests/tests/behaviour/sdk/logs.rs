//! What the log of an application gets to see: what is done to which table, and nothing of what its rows and keys are.

use cache_sync::{Cache, Client, Patch};
use cache_sync_tests::logged::Logged;
use cache_sync_tests::rows::{close, node_with, open};
use cache_sync_tests::{Database, SOON, wait_until};
use serde::{Deserialize, Serialize};

/// Stands in every key, value and password.
const MARK: &str = "s3cret";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Secret {
    body: String,
    mood: String,
    owed: i64,
}

fn secret(owed: i64) -> Secret {
    Secret { body: format!("{MARK} body"), mood: "calm".to_owned(), owed }
}

/// Refuses in every way that there is: by a type, a constraint, and by a trigger that quotes the row.
fn make(db: &Database<'_>) {
    db.psql(&format!(
        "CREATE TYPE mood AS ENUM ('calm');
         CREATE TABLE secret (id text PRIMARY KEY, body varchar(30) NOT NULL, mood text NOT NULL DEFAULT 'calm', owed bigint NOT NULL CHECK (owed < 100));
         CREATE FUNCTION quotes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.owed = 7 THEN RAISE EXCEPTION 'no % for %', NEW.body, NEW.id; END IF;
           IF NEW.owed = 8 THEN RAISE EXCEPTION 'no % for %', NEW.body, NEW.id USING ERRCODE = 'XX000'; END IF;
           IF NEW.owed = 9 THEN RAISE EXCEPTION 'no % for %', NEW.body, NEW.id USING ERRCODE = '0F000'; END IF;
           PERFORM NEW.mood::mood; RETURN NEW; END $$;
         CREATE TRIGGER quotes BEFORE INSERT OR UPDATE ON secret FOR EACH ROW EXECUTE FUNCTION quotes();
         INSERT INTO secret SELECT '{MARK} ' || n, '{MARK}', 'calm', 0 FROM generate_series(1, 20) n;
         SELECT cache_sync.attach('secret', versioned => true)"
    ));
}

fn key(number: u32) -> String {
    format!("{MARK} {number}")
}

async fn read(client: &Client, cache: &Cache<String, Secret>) {
    assert!(cache.get(&key(1)).await.unwrap().is_some());
    assert!(cache.get(&key(99)).await.unwrap().is_none());
    cache.get_many(&[key(2), key(3), key(4)]).await.unwrap();
    let query = client.query::<String>(&format!("SELECT body FROM secret WHERE id = $1 OR body = '{MARK} literal'"));
    assert_eq!(query.bind(key(1)).fetch().await.unwrap().len(), 1);
    let wrong = client.query::<i64>("SELECT body::bigint FROM secret WHERE id = $1").bind(key(1)).fetch().await;
    assert!(wrong.unwrap_err().to_string().contains(MARK), "Postgres quotes the row");
}

/// Those that are refused, each by itself, and those that nobody can tell whose fault they are.
async fn write(cache: &Cache<String, Secret>, logged: &Logged) {
    assert!(cache.put(key(50), secret(1)).await.unwrap().written().await.unwrap().is_written());
    let too_long = Secret { body: MARK.repeat(10), ..secret(1) };
    let no_mood = Secret { mood: MARK.to_owned(), ..secret(1) };
    for (number, refused) in [too_long, no_mood, secret(100), secret(7)].into_iter().enumerate() {
        let said = || logged.with(&["Postgres refused patches"]).len();
        let before = said();
        // Refusals of one second are said together.
        wait_until(SOON, "one of this kind is said", async || {
            let outcome = cache.put(key(60 + number as u32), refused.clone()).await.unwrap().written().await.unwrap();
            assert!(!outcome.is_written(), "{outcome:?}");
            said() > before
        })
        .await;
    }
    // Two fields of one name would be one to many who read logs.
    assert!(!logged.with(&["Postgres refused patches", " reason="]).is_empty());
    for owed in [8, 9] {
        let _ = cache.patch(&key(owed), Patch::new().set("owed", i64::from(owed))).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_of_rows_keys_and_passwords_is_in_the_log() {
    let logged = Logged::start();
    let db = Database::with_extension();
    make(&db);
    let dsn = db.dsn().replacen("://postgres@", &format!("://postgres:{MARK}@"), 1);
    assert!(dsn.contains(MARK), "{dsn}");
    let client = open(Client::builder(&dsn)).await;
    let cache = client.cache::<String, Secret>("secret").open().await.unwrap();
    read(&client, &cache).await;
    write(&cache, &logged).await;
    // Who waits for it hears all that Postgres said; the log hears the code.
    let trouble = async || {
        let said = cache.status().write_trouble.map(|trouble| trouble.error.to_string());
        said.is_some_and(|said| said.contains(MARK))
    };
    wait_until(SOON, "a patch is tried again and again", trouble).await;
    db.psql("ALTER TABLE secret DISABLE TRIGGER quotes");
    client.flush().await.unwrap();
    db.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    wait_until(SOON, "the feed is heard again", async || client.status().feed_connects > 1).await;
    client.catch_up().await.unwrap();
    close(client).await;

    for code in ["23514", "22001", "22P02", "P0001"] {
        assert!(!logged.with(&["WARN", "public.secret", code, "dead_letter="]).is_empty(), "{code}");
    }
    assert!(!logged.with(&["WARN", "23514", "violates check constraint"]).is_empty(), "what names no value is said");
    assert!(!logged.with(&["WARN", "public.secret", "left out", "it is tried again"]).is_empty());
    for span in ["cache_sync.load", "cache_sync.batch", "cache_sync.query", "cache_sync.feed"] {
        assert!(!logged.spans_with(&[span]).is_empty(), "{span}");
    }
    let shown = [logged.with(&[MARK]), logged.spans_with(&[MARK])].concat();
    assert!(shown.is_empty(), "{shown:#?}");
}

#[tokio::test]
async fn spans_say_what_is_done_to_which_table() {
    let logged = Logged::start();
    let (_db, client, cache) = node_with(10).await;
    cache.get(&1).await.unwrap();
    cache.get_many(&[2, 3, 4]).await.unwrap();
    cache.patch(&1, Patch::new().add("balance", 1)).await.unwrap().written().await.unwrap();
    client.query::<i64>("SELECT count(*) FROM account WHERE id = $1").bind(1_i64).fetch().await.unwrap();
    let hash = format!("key_hash=\"{:016x}\"", cache.key_hash(&1).0);
    for (span, words) in [
        ("DEBUG cache_sync.load", vec!["table=\"public.account\"", "keys=1", &hash]),
        ("DEBUG cache_sync.load", vec!["table=\"public.account\"", "keys=3"]),
        ("DEBUG cache_sync.batch", vec!["table=\"public.account\"", "patches=1", "sequence=1", "outcome=\"settled\""]),
        ("DEBUG cache_sync.query", vec!["tables=\"public.account\"", "statement=", "parameters=1"]),
        ("INFO cache_sync.feed", vec!["kind=Stream", &format!("epoch={}", client.status().epoch)]),
    ] {
        let words = [&[span], &words[..]].concat();
        assert_eq!(logged.spans_with(&words).len(), 1, "{words:?} of {:#?}", logged.spans_with(&[]));
    }
    close(client).await;
}
