//! Queries inside queries: sublinks, WITH, set operations, windows, groups, limits.

use super::check;

#[tokio::test]
async fn sublinks() {
    check(&[
        ("SELECT (SELECT count(*) FROM post)", "post"),
        ("SELECT (SELECT max(id) FROM post WHERE author = $1)", "post.author=$1"),
        ("SELECT name FROM author a WHERE EXISTS (SELECT FROM post p WHERE p.author = a.id)", "author post"),
        (
            "SELECT name FROM author a WHERE a.id = $1 AND EXISTS (SELECT FROM post p WHERE p.author = a.id)",
            "author.key=$1 post.author=$1",
        ),
        (
            "SELECT name FROM author a WHERE a.id = $1 OR EXISTS (SELECT FROM post p WHERE p.author = a.id)",
            "author post",
        ),
        (
            "SELECT (SELECT count(*) FROM post p WHERE p.author = a.id) FROM author a WHERE a.country = 'x' AND a.id = $1",
            "author.key=$1 post.author=$1",
        ),
        ("SELECT * FROM author WHERE id IN (SELECT author FROM post WHERE topic = $1)", "author post.topic=$1"),
        ("SELECT * FROM author WHERE id NOT IN (SELECT author FROM post WHERE topic = $1)", "author post.topic=$1"),
        ("SELECT * FROM author WHERE id = $1 AND id NOT IN (SELECT author FROM post)", "author.key=$1 post"),
        ("SELECT * FROM author WHERE id > ALL (SELECT score FROM post WHERE author = $1)", "author post.author=$1"),
        ("SELECT ARRAY(SELECT body FROM post WHERE author = 3 ORDER BY id)", "post.author=3"),
        ("SELECT * FROM author a WHERE NOT EXISTS (SELECT FROM post WHERE author = a.id AND topic = $1)", "author post.topic=$1"),
        ("SELECT * FROM author ORDER BY (SELECT count(*) FROM post WHERE author = author.id)", "author post"),
        ("SELECT * FROM author LIMIT (SELECT max(score) FROM post WHERE author = $1)", "author post.author=$1"),
        ("SELECT author FROM post GROUP BY author HAVING count(*) > (SELECT count(*) FROM comment WHERE author = 1)", "comment.author=1 post"),
        ("SELECT sum(score) FILTER (WHERE EXISTS (SELECT FROM author WHERE id = post.author)) FROM post", "author post"),
        ("SELECT CASE WHEN score > 0 THEN (SELECT name FROM author a WHERE a.id = author) END FROM post", "author post"),
        (
            "SELECT * FROM author a JOIN comment c ON EXISTS (SELECT FROM post p WHERE p.author = a.id) WHERE a.id = $1",
            "author.key=$1 comment post.author=$1",
        ),
        (
            "SELECT * FROM author a WHERE a.id = $1 AND EXISTS (SELECT FROM post p WHERE EXISTS
                 (SELECT FROM comment c WHERE c.author = a.id AND c.post = p.id))",
            "author.key=$1 comment.author=$1 post",
        ),
        ("SELECT * FROM generate_series(1, (SELECT max(score) FROM post WHERE author = $1)) n", "post.author=$1"),
        ("VALUES ((SELECT count(*) FROM post)), (2)", "post"),
        ("SELECT ROW((SELECT name FROM author WHERE id = 1), 2)", "author.key=1"),
        ("SELECT * FROM post WHERE author = (SELECT id FROM author WHERE name = $1)", "author post"),
    ])
    .await;
}

#[tokio::test]
async fn in_from() {
    check(&[
        ("SELECT * FROM (SELECT * FROM post WHERE author = $1) s", "post.author=$1"),
        ("SELECT * FROM (SELECT author AS a FROM post) s WHERE a = $1", "post.author=$1"),
        ("SELECT * FROM (SELECT author::bigint AS a FROM post) s WHERE a = $1", "post.author=$1"),
        ("SELECT * FROM (SELECT author + 1 AS a FROM post) s WHERE a = $1", "post"),
        ("SELECT * FROM (SELECT author FROM post LIMIT 5) s WHERE author = $1", "post"),
        ("SELECT * FROM (SELECT author FROM post OFFSET 5) s WHERE author = $1", "post"),
        ("SELECT * FROM (SELECT DISTINCT author, topic FROM post) s WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM (SELECT DISTINCT ON (author) author, topic FROM post ORDER BY 1, 2) s WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM (SELECT DISTINCT ON (author) author, topic FROM post ORDER BY 1, 2) s WHERE topic = $1", "post"),
        ("SELECT * FROM (SELECT author, count(*) FROM post GROUP BY author) s WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM (SELECT max(author) AS author FROM post) s WHERE author = $1", "post"),
        ("SELECT * FROM (SELECT id, topic, count(*) FROM post GROUP BY id) s WHERE topic = $1", "post.topic=$1"),
        ("SELECT * FROM (SELECT author, topic FROM post GROUP BY ROLLUP (author, topic)) s WHERE topic = $1", "post.topic=$1"),
        ("SELECT * FROM (SELECT author, topic FROM post GROUP BY CUBE (author, topic)) s WHERE topic IS NULL", "post"),
        ("SELECT * FROM (SELECT author, row_number() OVER () FROM post) s WHERE author = $1", "post"),
        ("SELECT * FROM (SELECT author, rank() OVER (PARTITION BY author ORDER BY id) FROM post) s WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM (SELECT author, topic, rank() OVER (PARTITION BY author), sum(score) OVER (PARTITION BY topic, author) FROM post) s WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM (SELECT author, topic, rank() OVER (PARTITION BY author), sum(score) OVER (PARTITION BY topic) FROM post) s WHERE author = $1", "post"),
        ("SELECT * FROM (SELECT author, generate_series(1, score) FROM post) s WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM author a LEFT JOIN (SELECT author FROM post) s ON s.author = a.id WHERE s.author = $1", "author post.author=$1"),
        ("SELECT * FROM author a LEFT JOIN (SELECT author FROM post) s ON s.author = a.id WHERE s.author IS NULL", "author post"),
        ("SELECT * FROM (SELECT * FROM (SELECT author FROM post) s) t WHERE author = $1", "post.author=$1"),
        ("SELECT sum(score) OVER (PARTITION BY author) FROM post WHERE author = $1", "post.author=$1"),
        ("SELECT count(*) OVER w FROM post WHERE topic = $1 WINDOW w AS (ORDER BY score)", "post.topic=$1"),
    ])
    .await;
}

#[tokio::test]
async fn set_operations() {
    check(&[
        ("SELECT id FROM post WHERE author = $1 UNION SELECT post FROM comment WHERE author = $2", "comment.author=$2 post.author=$1"),
        ("SELECT id FROM post WHERE author = $1 UNION ALL SELECT post FROM comment", "comment post.author=$1"),
        ("SELECT id FROM post WHERE author = $1 EXCEPT SELECT post FROM comment WHERE author = $1", "comment.author=$1 post.author=$1"),
        ("SELECT id FROM post INTERSECT SELECT post FROM comment WHERE post = 3", "comment.post=3 post"),
        ("SELECT * FROM (SELECT author FROM post UNION SELECT author FROM comment) s WHERE author = $1", "comment.author=$1 post.author=$1"),
        ("SELECT * FROM (SELECT author FROM post EXCEPT SELECT author FROM comment) s WHERE author = $1", "comment.author=$1 post.author=$1"),
        ("SELECT * FROM (SELECT author FROM post INTERSECT SELECT 2) s WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM (SELECT author FROM post UNION SELECT author FROM comment LIMIT 4) s WHERE author = $1", "comment post"),
        ("SELECT * FROM (SELECT author FROM post UNION SELECT score FROM post) s WHERE author = $1", "post"),
        (
            "SELECT * FROM ((SELECT author FROM post ORDER BY id LIMIT 1) UNION ALL SELECT author FROM comment) s WHERE author = $1",
            "comment.author=$1 post",
        ),
        (
            "SELECT * FROM (SELECT author, topic FROM post UNION ALL (SELECT author, body FROM comment EXCEPT SELECT id, name FROM author)) s
             WHERE author = $1",
            "author.key=$1 comment.author=$1 post.author=$1",
        ),
        ("SELECT * FROM (SELECT author FROM post UNION SELECT id FROM post) s WHERE author = $1", "post.author=$1 post.key=$1"),
    ])
    .await;
}

#[tokio::test]
async fn with() {
    check(&[
        ("WITH mine AS (SELECT * FROM post WHERE author = $1) SELECT count(*) FROM mine", "post.author=$1"),
        ("WITH all_posts AS (SELECT * FROM post) SELECT * FROM all_posts WHERE author = $1", "post.author=$1"),
        ("WITH p AS MATERIALIZED (SELECT * FROM post) SELECT * FROM p WHERE author = $1", "post.author=$1"),
        ("WITH p AS (SELECT * FROM post) SELECT * FROM p WHERE author = $1 UNION ALL SELECT * FROM p WHERE author = $2", "post"),
        ("WITH p AS (SELECT * FROM post WHERE author = 3) SELECT * FROM p a, p b", "post.author=3"),
        ("WITH p AS (SELECT * FROM post) SELECT 1", "post"),
        ("WITH p AS (SELECT * FROM post), q AS (SELECT * FROM p) SELECT * FROM q WHERE author = $1", "post.author=$1"),
        ("WITH p AS (SELECT * FROM post) SELECT * FROM author a WHERE a.id = $1 AND EXISTS (SELECT FROM p WHERE p.author = a.id)", "author.key=$1 post.author=$1"),
        ("WITH a AS (SELECT id FROM author WHERE country = $1) SELECT * FROM post WHERE author IN (SELECT id FROM a)", "author.country=$1 post"),
        ("SELECT * FROM author a, LATERAL (WITH p AS (SELECT * FROM post WHERE author = a.id) SELECT * FROM p) s WHERE a.id = $1", "author.key=$1 post.author=$1"),
        (
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5) SELECT * FROM n JOIN post ON post.author = n.x",
            "post",
        ),
        (
            "WITH RECURSIVE thread AS (SELECT post, nr, author FROM comment WHERE author = $1
                 UNION ALL SELECT c.post, c.nr, c.author FROM comment c JOIN thread t ON c.nr = t.author)
             SELECT * FROM thread",
            "comment",
        ),
        (
            "WITH RECURSIVE p AS (SELECT id, score FROM post WHERE author = $1 UNION SELECT q.id, q.score FROM post q, p
                 WHERE q.author = $2 AND q.id = p.score) SELECT * FROM p WHERE id = 7",
            "post.author=$1|$2",
        ),
        (
            "WITH RECURSIVE base AS (SELECT author FROM comment), p AS (SELECT author FROM post WHERE author = 1
                 UNION SELECT b.author FROM base b, p WHERE b.author = 2) SELECT * FROM p",
            "comment.author=2 post.author=1",
        ),
    ])
    .await;
}
