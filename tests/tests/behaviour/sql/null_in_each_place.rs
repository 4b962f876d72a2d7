//! NULL, in every place: an error that says so, and a server that goes on.

use cache_sync_tests::Database;

#[tokio::test]
async fn are_refused_and_break_nothing() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, n int); SELECT cache_sync.attach('t', true); INSERT INTO t (id) VALUES (1)",
    );
    let session = "'00000000-0000-4000-8000-000000000001'";
    db.psql(&format!("SELECT cache_sync.open_session('t', {session})"));
    let connection = db.connect().await;
    let apply = ["'t'", session, "1", "1", "'[]'", "'{}'"];
    let null_at = |place: usize| {
        let arguments: Vec<_> =
            apply.iter().enumerate().map(|(at, of)| if at == place { "NULL" } else { of }).collect();
        format!("apply({})", arguments.join(", "))
    };
    let mut calls: Vec<_> = (0..apply.len()).map(null_at).collect();
    calls.extend(
        [
            "upsert(NULL, '{\"id\": 1}')",
            "upsert('t', NULL)",
            "edit(NULL, '{\"id\": 1}', '{\"n\": 1}')",
            "edit('t', NULL, '{\"n\": 1}')",
            "edit('t', '{\"id\": 1}', NULL)",
            "delete(NULL, '{\"id\": 1}')",
            "delete('t', NULL)",
            "open_session(NULL, '00000000-0000-4000-8000-000000000002')",
            "open_session('t', NULL)",
            "describe(NULL)",
            "attach(NULL)",
            "attach('t', versioned => NULL)",
            "attach('t', rules => NULL)",
            "attach('t', tags => NULL)",
            "detach(NULL)",
            "detach('t', NULL)",
            "set_rule(NULL, 'n', '\"add\"')",
            "set_rule('t', NULL, '\"add\"')",
            "set_rule('t', 'n', NULL)",
        ]
        .map(str::to_owned),
    );
    for call in calls {
        let error = connection.batch_execute(&format!("SELECT cache_sync.{call}")).await.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("22004"), "{call}: {error}");
    }
    assert_eq!(db.psql("SELECT id, n FROM t; SELECT last_seq FROM cache_sync.session"), "1|\n0");
}
