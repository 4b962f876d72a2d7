//! What the statements are about.

use cache_sync_tests::Database;
use std::sync::OnceLock;

/// The database that all cases share, which none of them changes.
pub(super) fn database() -> &'static Database<'static> {
    static SHARED: OnceLock<Database<'static>> = OnceLock::new();
    SHARED.get_or_init(fresh)
}

/// One of a test's own.
pub(super) fn fresh() -> Database<'static> {
    let db = Database::with_extension();
    // Roles belong to the whole server, which tests share.
    for role in ["tenant", "stranger"] {
        let make = format!("CREATE ROLE dependencies_{role} IN ROLE cache_sync_user");
        db.psql(&format!("DO $$ BEGIN {make}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"));
    }
    db.psql(SCHEMA);
    db
}

const SCHEMA: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN word AS text;
CREATE DOMAIN number AS int CHECK (VALUE > 0);
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);

CREATE TABLE author (id int PRIMARY KEY, name text, country text, active bool);
SELECT cache_sync.attach('author', tags => '{country,active}');
CREATE TABLE post (id bigint PRIMARY KEY, author int, topic text, body text, score int, doc jsonb, at timestamptz, day date,
    words int GENERATED ALWAYS AS (length(body)) STORED);
SELECT cache_sync.attach('post', tags => '{author,topic,words}');
CREATE TABLE comment (post bigint, nr int, author int, body text, PRIMARY KEY (post, nr));
SELECT cache_sync.attach('comment', tags => '{author,post}');
CREATE TABLE typed (id int PRIMARY KEY, small smallint, big bigint, vc varchar(20), w word, n number, u uuid, b bytea, flag bool,
    d date, ts timestamp, tz timestamptz, m mood, plain int, num numeric, other text COLLATE \"C\");
SELECT cache_sync.attach('typed', tags => '{small,big,vc,w,n,u,b,flag,d,ts,tz,m,other}');
CREATE TABLE event (id int, kind int, body text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE low (gone text, kind int, body text, id int NOT NULL); ALTER TABLE low DROP gone;
ALTER TABLE event ATTACH PARTITION low FOR VALUES FROM (0) TO (100);
CREATE TABLE high PARTITION OF event FOR VALUES FROM (100) TO (200);
SELECT cache_sync.attach('event', tags => '{kind}');
CREATE TABLE \"Odd name\" (\"the key\" int PRIMARY KEY, \"a tag\" int);
SELECT cache_sync.attach('\"Odd name\"', tags => '{\"a tag\"}');

CREATE TABLE unattached (id int PRIMARY KEY, author int);
CREATE SEQUENCE numbers;
CREATE MATERIALIZED VIEW stored AS SELECT id FROM post;
CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE far (id int) SERVER nowhere;

CREATE VIEW simple AS SELECT id, author, topic FROM post;
CREATE VIEW joined AS SELECT p.id, p.author, a.country, a.id AS by FROM post p JOIN author a ON a.id = p.author;
CREATE VIEW over_views AS SELECT s.id, s.author AS who, j.country FROM simple s LEFT JOIN joined j ON j.id = s.id;
CREATE VIEW newest AS SELECT id, author FROM post ORDER BY id DESC LIMIT 10;
CREATE VIEW totals AS SELECT author, count(*) AS posts, max(score) AS best FROM post GROUP BY author;
CREATE VIEW of_seven AS SELECT id, body FROM post WHERE author = 7;
CREATE VIEW guarded WITH (security_barrier) AS SELECT id, author FROM post WHERE score > 0;
CREATE VIEW ranked AS SELECT id, author, topic, rank() OVER (PARTITION BY author ORDER BY score) AS place FROM post;
CREATE VIEW first_each AS SELECT DISTINCT ON (author) author, topic, id FROM post ORDER BY author, topic, id;
CREATE VIEW everything AS SELECT id, author FROM post UNION ALL SELECT post, author FROM comment;
CREATE VIEW grouped AS SELECT author, topic, count(*) FROM post GROUP BY ROLLUP (author, topic);

CREATE FUNCTION pure(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1';
CREATE FUNCTION looks(int) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM post WHERE author = $1';
CREATE FUNCTION looks_pl(int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
CREATE FUNCTION changes(int) RETURNS int VOLATILE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
CREATE FUNCTION rows_of(int) RETURNS SETOF post STABLE LANGUAGE sql AS 'SELECT * FROM post WHERE author = $1';
CREATE AGGREGATE sum_pure(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE FUNCTION step(int, int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1 + $2; END';
CREATE AGGREGATE sum_looking(int) (SFUNC = step, STYPE = int, INITCOND = '0');
CREATE OPERATOR ~~~ (LEFTARG = int, RIGHTARG = int, FUNCTION = step);
CREATE SCHEMA odd;
CREATE FUNCTION odd.anything(int, int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR odd.= (LEFTARG = int, RIGHTARG = int, FUNCTION = odd.anything);

GRANT SELECT ON author, joined, comment TO dependencies_tenant;
GRANT SELECT (id, author) ON post TO dependencies_tenant;
CREATE TABLE secret (id int PRIMARY KEY, tenant int, body text);
SELECT cache_sync.attach('secret', tags => '{tenant}');
GRANT SELECT ON secret TO dependencies_tenant;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
";
