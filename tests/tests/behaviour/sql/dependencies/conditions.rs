//! What pins a tag, and what does not.

use super::check;

#[tokio::test]
async fn equalities() {
    check(&[
        ("SELECT * FROM post", "post"),
        ("TABLE author", "author"),
        ("SELECT 1", ""),
        ("VALUES (1), (2)", ""),
        ("SELECT * FROM post WHERE author = $1", "post.author=$1"),
        ("SELECT * FROM post WHERE $1 = author", "post.author=$1"),
        ("SELECT * FROM post WHERE author = 7", "post.author=7"),
        ("SELECT * FROM post WHERE author = '7'", "post.author=7"),
        ("SELECT * FROM post WHERE author = $1::bigint", "post.author=$1"),
        ("SELECT * FROM post WHERE author = $1::smallint", "post.author=$1"),
        ("SELECT * FROM post WHERE author::bigint = $1", "post.author=$1"),
        ("SELECT * FROM post WHERE author = 7::bigint", "post.author=7"),
        ("SELECT * FROM post WHERE author = $1 AND score > $2", "post.author=$1"),
        ("SELECT * FROM post WHERE (author = $1 AND topic = $2) AND score > 1", "post.author=$1"),
        ("SELECT * FROM post WHERE topic = 'sql' AND score = $1", "post.topic='sql'"),
        ("SELECT * FROM post WHERE topic = $1 COLLATE \"C\"", "post.topic=$1"),
        ("SELECT * FROM post WHERE topic COLLATE \"C\" = $1", "post.topic=$1"),
        ("SELECT * FROM post WHERE words = $1", "post.words=$1"),
        ("SELECT * FROM post WHERE id = $1", "post.key=$1"),
        ("SELECT * FROM post WHERE id = $1 AND author = $2", "post.key=$1"),
        ("SELECT * FROM post WHERE id = ANY($1) AND author = $2", "post.author=$2"),
        ("SELECT * FROM comment WHERE post = $1 AND nr = 2", "comment.key=($1,2)"),
        ("SELECT * FROM comment WHERE nr = $1 AND post = $1", "comment.key=($1,$1)"),
        ("SELECT * FROM comment WHERE post = $1", "comment.post=$1"),
        ("SELECT * FROM comment WHERE nr = $1", "comment"),
        ("SELECT * FROM post p WHERE p.author = $1 LIMIT 3", "post.author=$1"),
        ("SELECT * FROM \"Odd name\" WHERE \"a tag\" = $1", "\"Odd name\".a tag=$1"),
        ("SELECT 1 FROM post p (i, a) WHERE a = $1", "post.author=$1"),
    ])
    .await;
}

#[tokio::test]
async fn lists() {
    check(&[
        ("SELECT * FROM post WHERE author = ANY($1)", "post.author=any($1)"),
        ("SELECT * FROM post WHERE author = ANY('{1,2,NULL}')", "post.author=1|2"),
        ("SELECT * FROM post WHERE author = ANY(ARRAY[1, $1, NULL])", "post.author=1|$1"),
        ("SELECT * FROM post WHERE author IN (1, 2, $1)", "post.author=1|2|$1"),
        ("SELECT * FROM post WHERE author IN ($1)", "post.author=$1"),
        ("SELECT * FROM post WHERE topic IN ('a', $1)", "post.topic='a'|$1"),
        ("SELECT * FROM post WHERE author = $1 OR author = 3", "post.author=$1|3"),
        (
            "SELECT * FROM post WHERE (author = $1 AND score > 3) OR (score < 3 AND author IN (4, 5))",
            "post.author=$1|4|5",
        ),
        ("SELECT * FROM post WHERE author = $1 OR author IS NULL", "post.author=$1|null"),
        ("SELECT * FROM post WHERE author IN (1, 2) AND topic = $1", "post.topic=$1"),
        ("SELECT * FROM post WHERE id = ANY($1)", "post.key=any($1)"),
        ("SELECT * FROM post WHERE author = $1 OR topic = $2", "post"),
        ("SELECT * FROM post WHERE author = $1 OR score = 3", "post"),
        ("SELECT * FROM post WHERE author = ALL($1)", "post"),
        ("SELECT * FROM post WHERE author <> ANY($1)", "post"),
        ("SELECT * FROM post WHERE author NOT IN (1, 2)", "post"),
        ("SELECT * FROM post WHERE author = ANY('{}')", "post"),
        ("SELECT * FROM comment WHERE post = ANY($1) AND nr = 1", "comment.post=any($1)"),
    ])
    .await;
}

#[tokio::test]
async fn what_is_no_equality() {
    check(&[
        ("SELECT * FROM post WHERE author > $1", "post"),
        ("SELECT * FROM post WHERE NOT author = $1", "post"),
        ("SELECT * FROM post WHERE (author = $1) IS NOT TRUE", "post"),
        ("SELECT * FROM post WHERE author + 0 = $1", "post"),
        ("SELECT * FROM post WHERE author = $1 + 1", "post"),
        ("SELECT * FROM post WHERE author = score", "post"),
        ("SELECT * FROM post WHERE author = NULL", "post"),
        ("SELECT * FROM post WHERE author::text = $1", "post"),
        ("SELECT * FROM post WHERE author = 7.5", "post"),
        ("SELECT * FROM post WHERE author::numeric = $1", "post"),
        ("SELECT * FROM post WHERE author OPERATOR(odd.=) $1", "post"),
        ("SELECT * FROM post WHERE topic = $1 COLLATE loose", "post"),
        ("SELECT * FROM post WHERE topic::bpchar = $1", "post"),
        ("SELECT * FROM post WHERE topic LIKE 'a'", "post"),
        ("SELECT * FROM post WHERE lower(topic) = $1", "post"),
        ("SELECT * FROM post WHERE score = $1", "post"),
        ("SELECT * FROM post WHERE CASE WHEN author = $1 THEN true ELSE false END", "post"),
        ("SELECT author = $1 FROM post", "post"),
        ("SELECT author FROM post GROUP BY author HAVING author = 1", "post"),
        ("SELECT count(*) FILTER (WHERE author = 1) FROM post", "post"),
    ])
    .await;
}

#[tokio::test]
async fn nulls() {
    check(&[
        ("SELECT * FROM post WHERE author IS NULL", "post.author=null"),
        ("SELECT * FROM post WHERE author IS NOT DISTINCT FROM $1", "post.author=$1"),
        ("SELECT * FROM post WHERE author IS NOT NULL", "post"),
        ("SELECT * FROM post WHERE author IS DISTINCT FROM 3", "post"),
        ("SELECT * FROM post WHERE NOT (author IS NULL)", "post"),
    ])
    .await;
}

#[tokio::test]
async fn every_type() {
    check(&[
        ("SELECT * FROM typed WHERE small = $1", "typed.small=$1"),
        ("SELECT * FROM typed WHERE small = 70000", "typed.small=70000"),
        ("SELECT * FROM typed WHERE big = $1", "typed.big=$1"),
        ("SELECT * FROM typed WHERE big = 9007199254740993", "typed.big=9007199254740993"),
        ("SELECT * FROM typed WHERE big = -1", "typed.big=-1"),
        ("SELECT * FROM typed WHERE big = -$1::bigint", "typed"),
        ("SELECT * FROM typed WHERE big = '-1'", "typed.big=-1"),
        ("SELECT * FROM typed WHERE vc = $1", "typed.vc=$1"),
        ("SELECT * FROM typed WHERE vc = 'it''s'", "typed.vc='it's'"),
        ("SELECT * FROM typed WHERE vc = ANY($1)", "typed.vc=any($1)"),
        ("SELECT * FROM typed WHERE w = $1", "typed.w=$1"),
        ("SELECT * FROM typed WHERE w = 'x'::word", "typed"),
        ("SELECT * FROM typed WHERE n = 3", "typed.n=3"),
        ("SELECT * FROM typed WHERE n = $1", "typed.n=$1"),
        (
            "SELECT * FROM typed WHERE u = '00000000-0000-4000-8000-00000000000f'",
            "typed.u='0000000000004000800000000000000f'",
        ),
        ("SELECT * FROM typed WHERE u = ANY($1)", "typed.u=any($1)"),
        ("SELECT * FROM typed WHERE b = '\\x00ff'", "typed.b='00ff'"),
        ("SELECT * FROM typed WHERE flag", "typed.flag=true"),
        ("SELECT * FROM typed WHERE NOT flag", "typed.flag=false"),
        ("SELECT * FROM typed WHERE flag = $1", "typed.flag=$1"),
        ("SELECT * FROM typed WHERE flag IS TRUE", "typed.flag=true"),
        ("SELECT * FROM typed WHERE flag IS NOT TRUE", "typed"),
        ("SELECT * FROM typed WHERE flag IS UNKNOWN", "typed"),
        ("SELECT * FROM typed WHERE d = '2000-01-02'", "typed.d=1"),
        ("SELECT * FROM typed WHERE d = $1::timestamp", "typed"),
        ("SELECT * FROM typed WHERE ts = '2000-01-01 00:00:01'", "typed.ts=1000000"),
        ("SELECT * FROM typed WHERE ts = $1::timestamptz", "typed"),
        ("SELECT * FROM typed WHERE tz = $1", "typed.tz=$1"),
        ("SELECT * FROM typed WHERE tz = '2000-01-01 00:00:00+00'", "typed.tz=0"),
        ("SELECT * FROM typed WHERE m = 'ok'", "typed.m='ok'"),
        ("SELECT * FROM typed WHERE m = $1", "typed.m=$1"),
        ("SELECT * FROM typed WHERE other = $1", "typed.other=$1"),
        ("SELECT * FROM typed WHERE plain = $1", "typed"),
        ("SELECT * FROM typed WHERE num = $1", "typed"),
    ])
    .await;
}
