//! A trigger of the user's stores a row under another key than that of the patch, say in lower case. The row is there, but not where the patch
//! meant it to be: the outcome says that the key has none, and a warning where it went.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::json;

fn slugs(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE t (slug text PRIMARY KEY, v text); SELECT cache_sync.attach('t', true);
         CREATE FUNCTION lower() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.slug := pg_catalog.lower(NEW.slug); RETURN NEW; END $$;
         CREATE TRIGGER lower BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION lower()",
    );
}

/// What a statement answers, and what it warns of.
fn said(db: &Database<'_>, sql: &str) -> String {
    let output = db.client("psql").args(["-XqAt", "-v", "VERBOSITY=verbose", "-c", sql]).output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat()
}

#[tokio::test]
async fn its_outcome_is_swallowed_and_the_warning_says_why() {
    let db = Database::with_extension();
    slugs(&db);
    let answer = said(
        &db,
        "SELECT outcome, version, row_after FROM cache_sync.upsert('t', '{\"slug\": \"Foo\", \"v\": \"1\"}')",
    );
    assert!(
        answer.contains("swallowed||")
            && answer.contains("WARNING:  01000: a trigger of public.t has given a row another key"),
        "{answer}"
    );
    assert_eq!(db.psql("SELECT slug, v FROM t"), "foo|1");
    // There is one by now, so nothing is written at all.
    let answer = said(&db, "SELECT outcome FROM cache_sync.upsert('t', '{\"slug\": \"Foo\", \"v\": \"2\"}')");
    assert!(answer.contains("swallowed") && !answer.contains("WARNING"), "{answer}");
    assert_eq!(db.psql("SELECT slug, v FROM t"), "foo|1");
}

/// Beside it another patch of the batch lost the race for its own key, and was taken for one of those that went elsewhere.
#[tokio::test]
async fn a_patch_beside_it_that_lost_a_race_is_tried_again() {
    let db = Database::with_extension();
    slugs(&db);
    let mut batches = Batches::open(&db, "t").await;
    // While the first row is being inserted, somebody makes that of the second.
    let rival = db.connect().await;
    rival.batch_execute("BEGIN; INSERT INTO t VALUES ('b', 'theirs')").await.unwrap();
    let stamp = batches.now().await;
    let rows = [json!([{"#": 0, "@": stamp, "slug": "A", "v": "1"}, {"#": 1, "@": stamp + 60, "slug": "b", "v": "2"}])];
    let sent = tokio::spawn(async move { batches.verdicts(json!([{"op": "put", "fields": ["v"]}]), &rows).await });
    cache_sync_tests::locks::until_waiting(&db, 1).await;
    rival.batch_execute("COMMIT").await.unwrap();
    assert_eq!(sent.await.unwrap(), ["swallowed", "applied"]);
}
