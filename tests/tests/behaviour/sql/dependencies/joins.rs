//! Joins: a condition pins the side that it restricts, and equal columns are pinned together.

use super::check;

#[tokio::test]
async fn inner() {
    check(&[
        ("SELECT * FROM post JOIN author ON author.id = post.author", "author post"),
        ("SELECT * FROM post p JOIN author a ON a.id = p.author WHERE a.country = $1", "author.country=$1 post"),
        ("SELECT * FROM post p JOIN author a ON a.id = p.author WHERE p.author = $1", "author.key=$1 post.author=$1"),
        ("SELECT * FROM post p JOIN author a ON a.id = p.author AND a.id = $1", "author.key=$1 post.author=$1"),
        ("SELECT * FROM post p, author a WHERE a.id = p.author AND a.id = $1", "author.key=$1 post.author=$1"),
        (
            "SELECT * FROM post p, author a, comment c WHERE a.id = p.author AND c.author = a.id AND p.author = $1",
            "author.key=$1 comment.author=$1 post.author=$1",
        ),
        ("SELECT * FROM post JOIN comment USING (author) WHERE author = $1", "comment.author=$1 post.author=$1"),
        ("SELECT * FROM author NATURAL JOIN typed WHERE id = $1", "author.key=$1 typed.key=$1"),
        (
            "SELECT * FROM (post p JOIN author a ON a.id = p.author) AS j (i, w) WHERE w = $1",
            "author.key=$1 post.author=$1",
        ),
        ("SELECT * FROM post p CROSS JOIN author a WHERE p.topic = $1", "author post.topic=$1"),
        ("SELECT * FROM post p JOIN post q ON q.author = p.author WHERE p.author = $1", "post.author=$1"),
        ("SELECT * FROM post p JOIN post q ON q.id = p.id WHERE p.author = $1", "post"),
        ("SELECT * FROM post p, post q WHERE p.author = $1 AND q.author = $2", "post.author=$1|$2"),
        ("SELECT * FROM post p, post q WHERE p.author = $1 AND q.topic = $2", "post.author=$1 post.topic=$2"),
        ("SELECT * FROM post p, post q WHERE p.author = $1 AND q.id = $2", "post.author=$1 post.key=$2"),
        (
            "SELECT * FROM post p JOIN comment c ON c.post = p.id AND c.nr = 1 WHERE p.id = $1",
            "comment.key=($1,1) post.key=$1",
        ),
        ("SELECT * FROM post p JOIN typed t ON t.small = p.author AND p.author = $1", "post.author=$1 typed.small=$1"),
        ("SELECT * FROM post p JOIN typed t ON t.vc = p.topic AND t.vc = $1", "post.topic=$1 typed.vc=$1"),
        ("SELECT * FROM post p JOIN author a ON a.id < p.author AND a.id = $1", "author.key=$1 post"),
    ])
    .await;
}

#[tokio::test]
async fn outer() {
    check(&[
        ("SELECT * FROM author a LEFT JOIN post p ON p.author = a.id", "author post"),
        ("SELECT * FROM author a LEFT JOIN post p ON p.author = a.id WHERE a.id = $1", "author.key=$1 post.author=$1"),
        // What is asked of the side that stays as it is pins nothing of it ...
        ("SELECT * FROM author a LEFT JOIN post p ON p.author = a.id AND a.id = $1", "author post.author=$1"),
        ("SELECT * FROM author a LEFT JOIN post p ON p.author = $1 AND a.country = $2", "author post.author=$1"),
        ("SELECT * FROM post p RIGHT JOIN author a ON p.author = a.id AND a.id = $1", "author post.author=$1"),
        ("SELECT * FROM post p RIGHT JOIN author a ON a.country = $2 WHERE p.author = $1", "author post.author=$1"),
        // ... but WHERE comes after the join.
        ("SELECT * FROM author a LEFT JOIN post p ON p.author = a.id WHERE p.author = $1", "author post.author=$1"),
        ("SELECT * FROM author a LEFT JOIN post p ON p.score = 1 WHERE p.topic = $1", "author post.topic=$1"),
        // A row that is there keeps the row of nulls away, whatever its value.
        ("SELECT * FROM author a LEFT JOIN post p ON p.score = a.id WHERE p.author IS NULL", "author post"),
        ("SELECT * FROM author a LEFT JOIN post p ON p.score = a.id WHERE p.author IS NOT DISTINCT FROM $1", "author post"),
        ("SELECT * FROM author a LEFT JOIN post p ON p.score = a.id AND p.author IS NULL", "author post.author=null"),
        ("SELECT * FROM post p LEFT JOIN author a ON a.id = p.score WHERE p.author IS NULL", "author post.author=null"),
        ("SELECT * FROM post p RIGHT JOIN author a ON a.id = p.score WHERE p.author IS NULL", "author post"),
        ("SELECT * FROM post p FULL JOIN author a ON a.id = p.author", "author post"),
        ("SELECT * FROM post p FULL JOIN author a ON a.id = p.author AND p.author = $1", "author post"),
        ("SELECT * FROM post p FULL JOIN author a ON a.id = p.author WHERE p.author = $1", "author post.author=$1"),
        ("SELECT * FROM post p FULL JOIN author a ON a.id = p.author WHERE p.author IS NULL", "author post"),
        ("SELECT * FROM post FULL JOIN comment USING (author) WHERE author = $1", "comment post"),
        ("SELECT * FROM post LEFT JOIN comment USING (author) WHERE author = $1", "comment.author=$1 post.author=$1"),
        (
            "SELECT * FROM author a LEFT JOIN (post p JOIN comment c ON c.post = p.id) ON p.author = a.id AND c.author = $2
             WHERE a.id = $1",
            "author.key=$1 comment.author=$2 post.author=$1",
        ),
        (
            "SELECT * FROM (author a LEFT JOIN post p ON p.author = a.id) RIGHT JOIN comment c ON c.author = a.id
             WHERE a.id = $1",
            "author.key=$1 comment post.author=$1",
        ),
        (
            "SELECT * FROM (author a LEFT JOIN post p ON p.author = a.id AND a.country = 'x') LEFT JOIN comment c
             ON c.post = p.id AND p.topic = $1",
            "author comment post",
        ),
    ])
    .await;
}

#[tokio::test]
async fn lateral() {
    check(&[
        (
            "SELECT * FROM author a, LATERAL (SELECT * FROM post p WHERE p.author = a.id) s WHERE a.id = $1",
            "author.key=$1 post.author=$1",
        ),
        (
            "SELECT * FROM author a LEFT JOIN LATERAL (SELECT * FROM post p WHERE p.author = a.id ORDER BY id LIMIT 3) s ON true
             WHERE a.id = $1",
            "author.key=$1 post.author=$1",
        ),
        (
            "SELECT * FROM author a LEFT JOIN LATERAL (SELECT * FROM post p WHERE p.author = a.id) s ON a.id = $1",
            "author post.author=$1",
        ),
        (
            "SELECT * FROM author a, LATERAL (SELECT count(*) FROM post p WHERE p.topic = a.name) s WHERE a.country = $1",
            "author.country=$1 post",
        ),
        (
            "SELECT * FROM author a CROSS JOIN LATERAL (SELECT p.author FROM post p) s WHERE s.author = a.id AND a.id = $1",
            "author.key=$1 post.author=$1",
        ),
        ("SELECT * FROM author a, LATERAL generate_series(1, a.id) n WHERE a.id = $1", "author.key=$1"),
        ("SELECT * FROM post p, LATERAL jsonb_each(p.doc) WHERE p.author = $1", "post.author=$1"),
        ("SELECT * FROM author a, LATERAL (VALUES (a.id)) v (x), post p WHERE p.author = v.x AND a.id = $1", "author.key=$1 post"),
    ])
    .await;
}
