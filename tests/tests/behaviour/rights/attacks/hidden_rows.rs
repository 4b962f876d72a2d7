//! Rows that a policy hides.

use cache_sync_tests::Database;
use cache_sync_tests::batches::Batches;
use serde_json::json;

/// The table `s.t` of `owns_rows` with a row for each of two tenants, who see only their own. `bypasses` sees all.
fn tenants() -> Database<'static> {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE owns_rows LOGIN IN ROLE cache_sync_admin; CREATE ROLE tenant_1 LOGIN IN ROLE cache_sync_user;
         CREATE ROLE bypasses LOGIN BYPASSRLS IN ROLE cache_sync_user; CREATE SCHEMA s AUTHORIZATION owns_rows; SET ROLE owns_rows;
         CREATE TABLE s.t (id int PRIMARY KEY, tenant text, a text, n int);
         SELECT cache_sync.attach('s.t', true, '{\"n\": \"add\"}');
         GRANT USAGE ON SCHEMA s TO PUBLIC; GRANT SELECT, INSERT, UPDATE, DELETE ON s.t TO tenant_1, bypasses;
         INSERT INTO s.t VALUES (1, 'tenant_1', 'mine', 1), (2, 'tenant_2', 'hidden', 2);
         ALTER TABLE s.t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON s.t USING (tenant = current_user) WITH CHECK (tenant = current_user AND a <> 'forbidden')",
    );
    db
}

const HIDDEN: &str = "SELECT tenant, a, n, cs_version FROM s.t WHERE id = 2";

/// A policy counts for every way to a row, and a row that it hides is as good as not there.
#[tokio::test]
async fn behind_row_level_security_there_is_nothing() {
    let db = tenants();
    let before = db.psql(HIDDEN);
    calls_find_nothing(&db);
    batches_find_nothing(&db).await;
    dead_letters_show_nothing(&db);
    assert_eq!(db.psql("SET ROLE tenant_1; SELECT count(*) FROM cache_sync.changes() WHERE key_hash IS NOT NULL"), "0");
    assert_eq!(db.psql("SELECT id, a, n FROM s.t WHERE id <> 2"), "1|new|2");
    assert_eq!(db.psql(HIDDEN), before);
    others_find_it(&db);
}

fn as_tenant(db: &Database<'_>, call: &str) -> Result<String, String> {
    db.try_psql(&format!(
        "SET SESSION AUTHORIZATION tenant_1; SELECT outcome, version, row_after FROM cache_sync.{call}"
    ))
}

fn calls_find_nothing(db: &Database<'_>) {
    for call in [
        "edit('s.t', '{\"id\": 2}', '{\"a\": \"x\"}')",
        "edit('s.t', '{\"id\": 2}', '{\"a\": \"hidden\"}')",
        "edit('s.t', '{\"id\": 2}', '{\"n\": 1}')",
        "delete('s.t', '{\"id\": 2}')",
        "compare_and_set('s.t', '{\"id\": 2, \"a\": \"x\"}', 1)",
    ] {
        assert_eq!(as_tenant(db, call).unwrap(), "missing||", "{call}");
    }
    // That the key is taken no table can hide, but nothing else comes out, nor goes in.
    let taken = as_tenant(db, "upsert('s.t', '{\"id\": 2, \"tenant\": \"tenant_1\", \"a\": \"x\"}')");
    assert_eq!(taken.unwrap(), "swallowed||");
    for call in [
        "upsert('s.t', '{\"id\": 3, \"tenant\": \"tenant_2\", \"a\": \"x\"}')",
        "edit('s.t', '{\"id\": 1}', '{\"tenant\": \"tenant_2\"}')",
        "edit('s.t', '{\"id\": 1}', '{\"a\": \"forbidden\"}')",
    ] {
        assert!(as_tenant(db, call).unwrap_err().contains("42501"), "{call}");
    }
}

async fn batches_find_nothing(db: &Database<'_>) {
    let mut batches = Batches::open_as(&db.dsn_as("tenant_1"), "s.t").await;
    let stamp = batches.now().await;
    let edit = json!([{"op": "edit", "fields": ["a", "n"]}]);
    let rows =
        json!([{"#": 0, "@": stamp, "id": 1, "a": "new", "n": 1}, {"#": 1, "@": stamp, "id": 2, "a": "new", "n": 1}]);
    assert_eq!(batches.verdicts(edit.clone(), &[rows]).await, ["applied", "missing"]);
    // Stamps, old and new, tell nothing of it either.
    for stamp in [0, 1, stamp, i64::MAX] {
        let rows = json!([{"#": 0, "@": stamp, "id": 2, "a": "hidden", "n": 0}]);
        assert_eq!(batches.verdicts(edit.clone(), &[rows]).await, ["missing"]);
        let rows = json!([{"#": 0, "@": stamp, "id": 2}]);
        assert_eq!(batches.verdicts(json!([{"op": "delete"}]), &[rows]).await, ["missing"]);
    }
    let rows = json!([{"#": 0, "@": i64::MAX, "id": 1, "a": "forbidden", "n": 1}]);
    assert_eq!(batches.verdicts(edit, &[rows]).await, ["rejected 42501"]);
    let edit = json!([{"op": "edit", "fields": ["n"]}]);
    let refused = batches.send(edit, &[json!([{"#": 0, "id": 2, "n": "none"}])]).await.unwrap();
    assert!(refused[0].sqlstate.is_some(), "{refused:?}");
}

fn dead_letters_show_nothing(db: &Database<'_>) {
    assert_eq!(db.psql("SET ROLE tenant_1; SELECT count(*) FROM cache_sync.dead_letters"), "0");
    let letter = db.psql("SELECT max(id) FROM cache_sync.dead_letter");
    assert!(as_tenant(db, &format!("requeue_dead_letter({letter})")).unwrap_err().contains("P0002"));
    assert_eq!(db.psql(&format!("SET ROLE tenant_1; SELECT cache_sync.discard_dead_letter({letter})")), "f");
}

/// The policy does not apply to these, until it is forced upon the owner.
fn others_find_it(db: &Database<'_>) {
    let edit_as = |role: &str| {
        let patch = json!({"a": format!("by {role}"), "tenant": "tenant_2"});
        db.psql(&format!(
            "SET SESSION AUTHORIZATION {role}; SELECT outcome FROM cache_sync.edit('s.t', '{{\"id\": 2}}', '{patch}')"
        ))
    };
    assert_eq!((edit_as("bypasses"), edit_as("owns_rows")), ("applied".into(), "applied".into()));
    db.psql("ALTER TABLE s.t FORCE ROW LEVEL SECURITY");
    assert_eq!((edit_as("bypasses"), edit_as("owns_rows")), ("applied".into(), "missing".into()));
}
