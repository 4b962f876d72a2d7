//! Functions: what an immutable one says is in its arguments, everything else may read something.

use super::check;

const VOLATILE: &str = ", which is volatile";
const CLOCK: &str = ", which reads the clock";
const SERVER: &str = ", which reads the server's state";
const STABLE: &str = ", which is stable and so may read tables or the clock";

#[tokio::test]
async fn of_each_volatility() {
    let all: Vec<(&str, String)> = vec![
        ("SELECT pure(score), lower(body), score + 1 FROM post", "post".into()),
        ("SELECT looks(1)", format!("!looks(){STABLE}")),
        ("SELECT looks_pl(score) FROM post WHERE author = $1", format!("post.author=$1 !looks_pl(){STABLE}")),
        ("SELECT * FROM rows_of(1)", format!("!rows_of(){STABLE}")),
        ("SELECT changes(1)", format!("!changes(){VOLATILE}")),
        ("SELECT * FROM post WHERE changes(author) = 1", format!("post !changes(){VOLATILE}")),
        ("SELECT random()", format!("!random(){VOLATILE}")),
        ("SELECT * FROM post ORDER BY random()", format!("post !random(){VOLATILE}")),
        ("SELECT * FROM post LIMIT (random() * 3)::int", format!("post !random(){VOLATILE}")),
        ("SELECT nextval('numbers')", format!("!nextval(){VOLATILE}")),
        ("SELECT clock_timestamp()", format!("!clock_timestamp(){VOLATILE}")),
        ("SELECT pg_advisory_lock(1)", format!("!pg_advisory_lock(){VOLATILE}")),
        ("SELECT sum_pure(score) FROM post", "post".into()),
        ("SELECT sum_looking(score) FROM post", format!("post !step(){STABLE}")),
        ("SELECT sum_looking(score) OVER (ORDER BY id) FROM post", format!("post !step(){STABLE}")),
        ("SELECT score ~~~ 3 FROM post", format!("post !step(){STABLE}")),
        ("SELECT now(), random(), now()", format!("!now(){CLOCK} !random(){VOLATILE}")),
        ("SELECT EXISTS (SELECT FROM post WHERE now() > at)", format!("post !now(){CLOCK}")),
        ("WITH p AS (SELECT random() AS r) SELECT * FROM p", format!("!random(){VOLATILE}")),
        ("SELECT * FROM post JOIN author ON changes(1) = 2", format!("author post !changes(){VOLATILE}")),
        (
            "SELECT count(*) OVER (ORDER BY id ROWS looks_pl(1) PRECEDING) FROM post",
            format!("post !looks_pl(){STABLE}"),
        ),
    ];
    check(&all.iter().map(|(sql, expected)| (*sql, &**expected)).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn of_the_clock() {
    let now = format!("!now(){CLOCK}");
    let statement = format!("!statement_timestamp(){CLOCK}");
    let age = format!("post !age(){CLOCK}");
    let at_now = format!("post {now}");
    check(&[
        ("SELECT now()", &now),
        ("SELECT * FROM post WHERE at > now() - interval '1 day'", &at_now),
        ("SELECT * FROM post WHERE at > $1", "post"),
        ("SELECT statement_timestamp()", &statement),
        ("SELECT age(at) FROM post", &age),
        ("SELECT age(at, $1) FROM post", "post"),
        ("SELECT * FROM post WHERE day = CURRENT_DATE", "post !the clock"),
        ("SELECT CURRENT_TIMESTAMP(3), LOCALTIME", "!the clock"),
        ("SELECT * FROM post WHERE day = 'today'", "post !a time that is said in words"),
        ("SELECT 'now'::timestamptz", "!a time that is said in words"),
        ("SELECT timestamp 'Tomorrow 12:00'", "!a time that is said in words"),
        ("SELECT E'to\\x64ay'::date, 'yesterday'", "!a time that is said in words"),
        ("SELECT '[now,)'::tstzrange", "!a time that is said in words"),
        ("SELECT '{2020-01-01,now}'::date[]", "!a time that is said in words"),
        ("SELECT 'it''s now' FROM post WHERE day = '2020-01-01'", "post"),
        ("SELECT 'now' FROM post WHERE topic = 'today'", "post.topic='today'"),
        ("SELECT * FROM post WHERE day = 'epoch' OR day = 'infinity'", "post"),
    ])
    .await;
}

#[tokio::test]
async fn of_settings_and_catalogs() {
    let size = format!("!pg_relation_size(){VOLATILE}");
    let privilege = format!("!has_table_privilege(){SERVER}");
    let pid = format!("!pg_backend_pid(){SERVER}");
    check(&[
        ("SELECT current_user, session_user, CURRENT_SCHEMA", ""),
        ("SELECT * FROM post WHERE topic = current_setting('my.topic')", "post"),
        ("SELECT to_char(at, 'YYYY'), at::text, day::timestamptz FROM post", "post"),
        ("SELECT concat(topic, score), format('%s', body), topic || score FROM post", "post"),
        ("SELECT json_agg(p), jsonb_build_object('a', max(score)) FROM post p WHERE author = 1", "post.author=1"),
        ("SELECT row_to_json(p), to_jsonb(p) FROM post p", "post"),
        ("SELECT date_trunc('day', at), extract(year FROM at) FROM post", "post"),
        ("SELECT to_tsvector(body) @@ to_tsquery('x') FROM post", "post"),
        ("SELECT generate_series(at, at + interval '1 day', interval '1 hour') FROM post", "post"),
        ("SELECT (doc ->> 'at')::timestamptz FROM post", "post"),
        ("SELECT array_agg(score), string_agg(body, ',') FROM post", "post"),
        ("SELECT pg_relation_size('post')", &size),
        ("SELECT has_table_privilege('post', 'SELECT')", &privilege),
        ("SELECT pg_backend_pid()", &pid),
    ])
    .await;
}
