//! What somebody might do who is let into the database, but not everywhere in it: none of it gets him a row, a key, a hash
//! of a hidden row, or a right.

mod code;
mod hidden_rows;
mod names;
mod others_tables;

use cache_sync_tests::Database;

/// The schema `v` of `owner` with the attached table `v.t`, in which every rule is in use.
fn make(db: &Database<'_>, owner: &str) {
    db.psql(&format!(
        r#"CREATE ROLE {owner} LOGIN IN ROLE cache_sync_admin; CREATE SCHEMA v AUTHORIZATION {owner}; SET ROLE {owner};
           CREATE FUNCTION v.longer(text, text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
               'BEGIN IF pg_catalog.length($1) OPERATOR(pg_catalog.>) pg_catalog.length($2) THEN RETURN $1; END IF; RETURN $2; END';
           CREATE SEQUENCE v.fence;
           CREATE TABLE v.t (id int PRIMARY KEY, a text, b text, i2 smallint, i4 int, n numeric, iv interval, d jsonb, l jsonb, s jsonb, sa int[],
               la int[], m int, first text, u text, v varchar(5));
           SELECT cache_sync.attach('v.t', true, '{{"i2": "add", "i4": "add", "n": "add", "iv": "add", "d": "json", "l": {{"rule": "append", "cap": 2}},
               "s": "union", "sa": "union", "la": {{"rule": "append", "cap": 2}}, "m": "max", "first": "first",
               "u": {{"rule": "function", "name": "v.longer(text,text)"}}}}')"#
    ));
}
