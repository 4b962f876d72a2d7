//! A user's function that merges is replaced while backends have compiled statements that call it: the next patch goes by what it is then.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::json;

const AS: &str = "AS $$ BEGIN RETURN coalesce($1, 'null') || '+' || coalesce($2, 'null'); END $$";

/// The statements of a STRICT function leave nulls to themselves; when it was replaced by one that is not, it was still not asked about them.
#[tokio::test]
async fn strict_is_asked_about_nulls_no_longer_or_again() {
    let db = Database::with_extension();
    db.psql(&format!(
        "CREATE FUNCTION merged(text, text) RETURNS text IMMUTABLE STRICT LANGUAGE plpgsql {AS};
         CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t SELECT n FROM generate_series(1, 9) n;
         SELECT cache_sync.attach('t', rules => '{{\"a\": {{\"rule\": \"function\", \"name\": \"merged(text,text)\"}}}}')"
    ));
    let mut batches = Batches::open(&db, "t").await;
    let edit = || json!([{"op": "edit", "fields": ["a"]}]);
    let mut id = 0;
    for (declared, merged) in [("STRICT", "x"), ("", "null+x"), ("STRICT", "x"), ("CALLED ON NULL INPUT", "null+x")] {
        id += 1;
        db.psql(&format!(
            "CREATE OR REPLACE FUNCTION merged(text, text) RETURNS text IMMUTABLE {declared} LANGUAGE plpgsql {AS}"
        ));
        assert_eq!(batches.verdicts(edit(), &[json!([{"#": 0, "id": id, "a": "x"}])]).await, ["applied"]);
        assert_eq!(db.psql(&format!("SELECT a FROM t WHERE id = {id}")), merged, "{declared}");
    }
    // Altered, and dropped and made anew.
    db.psql("ALTER FUNCTION merged STRICT");
    assert_eq!(batches.verdicts(edit(), &[json!([{"#": 0, "id": 7, "a": "x"}])]).await, ["applied"]);
    db.psql(&format!(
        "DROP FUNCTION merged; CREATE FUNCTION merged(text, text) RETURNS text IMMUTABLE LANGUAGE plpgsql {AS}"
    ));
    assert_eq!(batches.verdicts(edit(), &[json!([{"#": 0, "id": 8, "a": "x"}])]).await, ["applied"]);
    assert_eq!(db.psql("SELECT id, a FROM t WHERE id IN (7, 8) ORDER BY id"), "7|x\n8|null+x");
    // One that is volatile by now may not merge, whoever has compiled it.
    db.psql("ALTER FUNCTION merged VOLATILE");
    let patch = [json!([{"#": 0, "id": 9, "a": "x"}])];
    assert_eq!(batches.refusal(edit(), &patch).await, "42P17");
}
