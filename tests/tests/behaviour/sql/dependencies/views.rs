//! Views are opened, and what is asked of their columns is asked of what they are made of.

use super::{check, said, schema};

#[tokio::test]
async fn are_opened() {
    check(&[
        ("SELECT * FROM simple", "post"),
        ("SELECT * FROM simple WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM joined WHERE author = $1", "author.key=$1 post.author=$1"),
        ("SELECT * FROM joined WHERE by = $1", "author.key=$1 post.author=$1"),
        ("SELECT * FROM joined WHERE country = $1", "author.country=$1 post"),
        ("SELECT * FROM over_views WHERE who = $1", "author post"),
        ("SELECT * FROM over_views WHERE id = $1", "author post.key=$1"),
        ("SELECT * FROM over_views WHERE country = $1", "author.country=$1 post"),
        ("SELECT * FROM newest WHERE author = $1", "post"),
        ("SELECT * FROM totals WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM totals WHERE best = $1", "post"),
        ("SELECT * FROM of_seven", "post.author=7"),
        ("SELECT * FROM of_seven WHERE id = $1", "post.key=$1"),
        ("SELECT * FROM guarded WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM ranked WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM ranked WHERE topic = $1", "post"),
        ("SELECT * FROM first_each WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM first_each WHERE topic = $1", "post"),
        ("SELECT * FROM everything WHERE author = $1", "comment.author=$1 post.author=$1"),
        ("SELECT * FROM grouped WHERE topic = $1", "post.topic=$1"),
        (
            "SELECT * FROM author a LEFT JOIN simple s ON s.author = a.id WHERE a.id = $1",
            "author.key=$1 post.author=$1",
        ),
        ("SELECT s.id FROM simple s JOIN totals t USING (author) WHERE t.author = 3", "post.author=3"),
        ("SELECT EXISTS (SELECT FROM everything WHERE author = $1)", "comment.author=$1 post.author=$1"),
        ("WITH s AS (SELECT * FROM simple) SELECT * FROM s WHERE topic = $1", "post.topic=$1"),
        (
            "SELECT (SELECT best FROM totals t WHERE t.author = a.id) FROM author a WHERE id = $1",
            "author.key=$1 post.author=$1",
        ),
    ])
    .await;
}

#[tokio::test]
async fn policies_are_put_in() {
    let db = schema::fresh();
    let client = db.connect().await;
    for (policy, expected) in [
        ("USING (tenant = 7)", "secret.tenant=7"),
        ("USING (tenant = current_setting('my.tenant')::int)", "secret"),
        ("USING (tenant IN (SELECT id FROM author WHERE country = 'x'))", "author.country='x' secret"),
        ("USING (tenant IN (SELECT author FROM comment c WHERE c.post = secret.id))", "comment secret"),
        ("USING (EXISTS (SELECT FROM author WHERE name = current_user))", "author secret"),
        ("USING (now() > '2020-01-01')", "secret !now(), which reads the clock"),
        ("USING (looks(tenant) > 0)", "secret !looks(), which is stable and so may read tables or the clock"),
        ("TO dependencies_stranger USING (true)", "secret"),
        ("USING (true); CREATE POLICY q ON secret AS RESTRICTIVE USING (tenant = 3)", "secret.tenant=3"),
    ] {
        client
            .batch_execute(&format!("DROP POLICY IF EXISTS p ON secret; CREATE POLICY p ON secret {policy}"))
            .await
            .unwrap();
        assert_eq!(said(&client, "SELECT * FROM secret").await, "secret", "a superuser sees all");
        client.batch_execute("SET ROLE dependencies_tenant").await.unwrap();
        assert_eq!(said(&client, "SELECT * FROM secret").await, expected, "{policy}");
        client.batch_execute("RESET ROLE").await.unwrap();
    }
    client
        .batch_execute(
            "DROP POLICY p ON secret; DROP POLICY q ON secret; CREATE POLICY one ON secret USING (tenant = 1); CREATE POLICY two ON secret USING (tenant = 2);
             SET ROLE dependencies_tenant",
        )
        .await
        .unwrap();
    let mut pinned = said(&client, "SELECT * FROM author a LEFT JOIN secret s ON s.id = a.id").await;
    assert!(pinned == "author secret.tenant=1|2" || pinned == "author secret.tenant=2|1", "{pinned}");
    pinned = said(&client, "SELECT * FROM secret WHERE id = $1").await;
    assert_eq!(pinned, "secret.key=$1");
}
