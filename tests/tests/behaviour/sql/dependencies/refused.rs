//! What cannot be cached, and relations of which nobody hears.

use super::check;

#[tokio::test]
async fn statements() {
    let no_select = "!what is not one SELECT";
    check(&[
        ("INSERT INTO author VALUES (1)", no_select),
        ("UPDATE author SET name = 'x' RETURNING *", no_select),
        ("DELETE FROM author", no_select),
        ("CREATE TABLE x (id int)", no_select),
        ("SELECT 1 AS a INTO copied", no_select),
        ("CREATE TABLE copied AS SELECT 1", no_select),
        ("EXPLAIN SELECT 1", no_select),
        ("DECLARE c CURSOR FOR SELECT 1", no_select),
        ("SELECT 1; SELECT 2", no_select),
        ("COPY post TO STDOUT", no_select),
        ("BEGIN", no_select),
        ("", no_select),
        ("-- nothing", no_select),
        ("SELECT 1;", ""),
        ("SELECT * FROM post WHERE id = 1 FOR UPDATE", "post.key=1 !FOR UPDATE or the like"),
        ("SELECT * FROM (SELECT * FROM post FOR SHARE) s", "post !FOR UPDATE or the like"),
        ("SELECT * FROM simple FOR UPDATE", "post !FOR UPDATE or the like"),
        (
            "WITH gone AS (DELETE FROM comment WHERE author = 1 RETURNING *) SELECT * FROM gone",
            "comment.author=1 !a statement that changes something",
        ),
        ("WITH made AS (INSERT INTO author VALUES (1) RETURNING id) SELECT 1", "!a statement that changes something"),
        ("SELECT * FROM post TABLESAMPLE system (10)", "post !TABLESAMPLE"),
        ("SELECT * FROM post TABLESAMPLE bernoulli (10) REPEATABLE (1)", "post !TABLESAMPLE"),
        ("SELECT xmin, ctid FROM post", "post !ctid, xmin or the like"),
        ("SELECT tableoid FROM post", "post"),
    ])
    .await;
}

#[tokio::test]
async fn relations() {
    check(&[
        ("SELECT * FROM unattached", "!the table unattached"),
        (
            "SELECT * FROM post p JOIN unattached u ON u.author = p.author WHERE p.author = 1",
            "post.author=1 !the table unattached",
        ),
        ("SELECT * FROM stored", "!the materialized view stored"),
        ("SELECT * FROM far", "!the foreign table far"),
        ("SELECT last_value FROM numbers", "!the sequence numbers"),
        ("SELECT relname FROM pg_class", "!the system catalog pg_catalog.pg_class"),
        ("SELECT * FROM cache_sync.attached", "!the table cache_sync.attached"),
        ("SELECT 1 WHERE EXISTS (SELECT FROM unattached)", "!the table unattached"),
        ("SELECT * FROM unattached UNION SELECT * FROM unattached", "!the table unattached"),
    ])
    .await;
}

#[tokio::test]
async fn texts_that_are_wrong() {
    check(&[
        ("SELEC 1", "42601"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nope FROM post", "42703"),
        ("SELECT $1", ""),
        ("SELECT * FROM post WHERE author = 'x'", "22P02"),
        ("SELECT $2::int", "42P18"),
    ])
    .await;
}

#[tokio::test]
async fn partitions_are_their_root() {
    check(&[
        ("SELECT * FROM event", "event"),
        ("SELECT * FROM event WHERE kind = $1", "event.kind=$1"),
        ("SELECT * FROM low WHERE kind = $1", "event.kind=$1"),
        ("SELECT * FROM low WHERE id = $1", "event.key=$1"),
        ("SELECT * FROM high, low WHERE low.kind = 1 AND high.kind = 2", "event.kind=2|1"),
        ("SELECT * FROM ONLY event WHERE id = 5", "event.key=5"),
    ])
    .await;
}
