//! Nobody learns more than EXPLAIN of the statement would show.

use super::{said, schema};

#[tokio::test]
async fn are_those_that_the_statement_needs() {
    let db = schema::fresh();
    let client = db.connect().await;
    client.batch_execute("SET ROLE dependencies_tenant").await.unwrap();
    for (sql, expected) in [
        ("SELECT name FROM author WHERE id = $1", "author.key=$1"),
        ("SELECT id FROM post WHERE author = $1", "post.author=$1"),
        ("SELECT body FROM post", "42501"),
        ("SELECT count(*) FROM post WHERE topic = 'x'", "42501"),
        ("SELECT * FROM typed", "42501"),
        ("SELECT 1 WHERE EXISTS (SELECT FROM author WHERE id IN (SELECT small FROM typed))", "42501"),
        ("WITH unused AS (SELECT body FROM post) SELECT 1", "42501"),
        ("SELECT * FROM joined WHERE author = $1", "author.key=$1 post.author=$1"),
        ("SELECT * FROM simple", "42501"),
        ("SELECT * FROM odd.nowhere", "42501"),
        ("SELECT id FROM author WHERE id = 1 FOR UPDATE", "42501"),
    ] {
        assert_eq!(said(&client, sql).await, expected, "{sql}");
        let explained = client.query(&format!("EXPLAIN {sql}"), &[]).await;
        if !sql.contains('$') {
            // Postgres does not look at a WITH that nobody uses.
            assert!(explained.is_ok() || expected == "42501", "EXPLAIN refuses: {sql}");
        }
    }
    client.batch_execute("RESET ROLE; SET ROLE dependencies_stranger").await.unwrap();
    assert_eq!(said(&client, "SELECT * FROM joined").await, "42501");
    assert_eq!(said(&client, "SELECT 1").await, "");
    // A view asks with its owner's rights, unless it says otherwise.
    db.psql("ALTER VIEW joined SET (security_invoker); GRANT SELECT ON joined TO dependencies_stranger");
    assert_eq!(said(&client, "SELECT * FROM joined").await, "42501");
}
