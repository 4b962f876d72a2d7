//! Random statements of all kinds, over a handful of tables.

use cache_sync_kit::Dice;

/// Keys run from 1 to this.
pub(crate) const KEYS: i32 = 200;
/// The tables whose key is one integer. All have the columns `v` (text) and `n` (bigint).
pub(crate) const TABLES: [&str; 4] = ["plain", "versioned", "parts", "child"];

pub(crate) const SCHEMA: &str = "
    CREATE TABLE plain (id int PRIMARY KEY, v text, n bigint NOT NULL DEFAULT 0);
    CREATE TABLE versioned (id int PRIMARY KEY, v text, n bigint NOT NULL DEFAULT 0);
    CREATE TABLE parts (id int PRIMARY KEY, v text, n bigint NOT NULL DEFAULT 0) PARTITION BY RANGE (id);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (70);
    CREATE TABLE parts_middle PARTITION OF parts FOR VALUES FROM (70) TO (140) PARTITION BY RANGE (id);
    CREATE TABLE parts_middle_one PARTITION OF parts_middle FOR VALUES FROM (70) TO (100);
    CREATE TABLE parts_middle_two PARTITION OF parts_middle FOR VALUES FROM (100) TO (140);
    CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
    CREATE TABLE parent (id int PRIMARY KEY);
    INSERT INTO parent SELECT generate_series(1, 200);
    CREATE TABLE child (id int PRIMARY KEY, v text, n bigint NOT NULL DEFAULT 0, p int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
    CREATE INDEX ON child (p);
    CREATE TABLE pair (a int, b text, v text, n bigint NOT NULL DEFAULT 0, PRIMARY KEY (a, b));
    SELECT cache_sync.attach('plain'), cache_sync.attach('versioned', versioned => true, rules => '{\"n\": \"add\"}'),
           cache_sync.attach('parts', versioned => true), cache_sync.attach('child', tags => '{p}'), cache_sync.attach('pair');
    CREATE PROCEDURE steps(first int) LANGUAGE plpgsql AS $$ BEGIN FOR k IN first .. first + 5 LOOP
        UPDATE plain SET n = n + 1 WHERE id = k; IF k % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF; END LOOP; END $$;
    CREATE FUNCTION touch(k int) RETURNS void LANGUAGE sql AS
        $$ UPDATE versioned SET v = 'touched' WHERE id = k; UPDATE child SET n = n + 1 WHERE id = k $$";

/// One statement, or one transaction.
pub(crate) fn statement(dice: &mut Dice) -> String {
    match dice.below(80) {
        0..36 => change(dice),
        36..56 => transaction(dice),
        56..72 => program(dice),
        72 => seldom(dice),
        _ => by_the_extension(dice),
    }
}

fn key(dice: &mut Dice) -> i32 {
    dice.below(KEYS as u64) as i32 + 1
}

/// A statement that may stand in a transaction.
fn change(dice: &mut Dice) -> String {
    let (table, k, other, n) = (*dice.one_of(&TABLES), key(dice), key(dice), dice.below(1_000_000));
    let (low, high) = (k.min(other), (k.min(other) + dice.below(20) as i32));
    match dice.below(15) {
        0 | 1 => format!("UPDATE {table} SET v = 'v{n}' WHERE id = {k}"),
        2 => format!("UPDATE {table} SET n = n + 1, v = NULL WHERE id BETWEEN {low} AND {high}"),
        3 => format!("INSERT INTO {table} (id, v) VALUES ({k}, 'i{n}') ON CONFLICT (id) DO UPDATE SET v = excluded.v"),
        4 => format!("INSERT INTO {table} (id, v) SELECT g, 's{n}' FROM generate_series({low}, {high}) g ON CONFLICT DO NOTHING"),
        5 => format!("DELETE FROM {table} WHERE id = {k}"),
        6 => format!("UPDATE {table} SET id = {other} WHERE id = {k} AND NOT EXISTS (SELECT FROM {table} WHERE id = {other})"),
        7 => format!(
            "WITH gone AS (DELETE FROM {table} WHERE id = {k} RETURNING *), kept AS (UPDATE pair SET n = n + 1 WHERE a = {k} RETURNING 1)
             INSERT INTO plain (id, v) SELECT id, 'moved' FROM gone ON CONFLICT (id) DO UPDATE SET v = 'moved'"
        ),
        8 => format!(
            "MERGE INTO {table} t USING (VALUES ({k}, 'm{n}'), ({other}, NULL)) AS s (id, v) ON t.id = s.id
             WHEN MATCHED AND s.v IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v
             WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)"
        ),
        9 => format!("INSERT INTO pair VALUES ({}, 'k{}', 'p{n}') ON CONFLICT (a, b) DO UPDATE SET v = excluded.v", k % 20, other % 10),
        10 => format!("UPDATE pair SET v = 'q{n}' WHERE a = {}", k % 20),
        11 => format!("DELETE FROM pair WHERE a = {} AND b = 'k{}'", k % 20, other % 10),
        12 => format!("DELETE FROM parent WHERE id = {k}"),
        13 => format!("INSERT INTO parent VALUES ({k}) ON CONFLICT DO NOTHING; UPDATE child SET p = {k} WHERE id BETWEEN {low} AND {high}"),
        _ => format!("UPDATE parent SET id = {} WHERE id = {k} AND NOT EXISTS (SELECT FROM parent WHERE id = {0})", other + 1000),
    }
}

/// Several, with savepoints, some of which are undone, and perhaps the whole.
fn transaction(dice: &mut Dice) -> String {
    let mut text = String::from("BEGIN;");
    for _ in 0..1 + dice.below(3) {
        text.push_str(&format!(" {};", change(dice)));
        if dice.once_in(2) {
            let end = *dice.one_of(&["ROLLBACK TO s", "RELEASE s", "ROLLBACK TO s; RELEASE s"]);
            text.push_str(&format!(" SAVEPOINT s; {}; {end};", change(dice)));
        }
    }
    text.push_str(if dice.once_in(4) { " ROLLBACK" } else { " COMMIT" });
    text
}

/// Functions, procedures, blocks, cursors, COPY.
fn program(dice: &mut Dice) -> String {
    let (table, k, n) = (*dice.one_of(&TABLES), key(dice), dice.below(1_000_000));
    match dice.below(8) {
        0 => format!("CALL steps({})", k.min(KEYS - 6)),
        1 => format!("SELECT touch({k})"),
        2 => format!(
            "DO $$ BEGIN UPDATE {table} SET v = 'kept' WHERE id = {k}; BEGIN UPDATE {table} SET v = 'undone'; RAISE 'x';
             EXCEPTION WHEN raise_exception THEN NULL; END; END $$"
        ),
        3 => format!(
            "BEGIN; DECLARE c CURSOR FOR SELECT * FROM {table} WHERE id = {k} FOR UPDATE; FETCH c;
             UPDATE {table} SET v = 'c{n}' WHERE CURRENT OF c; COMMIT"
        ),
        4 => format!(
            "CREATE TEMP TABLE IF NOT EXISTS incoming (id int, v text); TRUNCATE incoming;
             COPY incoming FROM PROGRAM 'seq {k} {} | sed \"s/$/\\tcopied{n}/\"';
             INSERT INTO {table} (id, v) SELECT * FROM incoming ON CONFLICT (id) DO UPDATE SET v = excluded.v",
            k + 5
        ),
        5 => format!(
            "DELETE FROM plain WHERE id > 190; COPY plain (id, v) FROM PROGRAM 'seq 191 200 | sed \"s/$/\\tc{n}/\"'"
        ),
        6 => format!(
            "SET session_replication_role = replica; UPDATE {table} SET v = 'r{n}' WHERE id = {k}; RESET session_replication_role"
        ),
        _ => format!(
            "WITH x AS (UPDATE {table} SET v = 'x{n}' WHERE id % 50 = {} RETURNING 1) SELECT count(*) FROM x",
            k % 50
        ),
    }
}

/// What takes strong locks, or changes everything.
fn seldom(dice: &mut Dice) -> String {
    let (table, n) = (*dice.one_of(&TABLES), dice.below(1_000_000));
    match dice.below(12) {
        0 => format!("TRUNCATE {table}"),
        1 => "TRUNCATE parts_middle_one".to_owned(),
        2 => "TRUNCATE parent CASCADE; INSERT INTO parent SELECT generate_series(1, 200)".to_owned(),
        3 => format!(
            "INSERT INTO {table} (id, v) SELECT g, 'all{n}' FROM generate_series(1, 200) g ON CONFLICT (id) DO UPDATE SET v = excluded.v"
        ),
        4 => format!("UPDATE {table} SET v = 'every{n}'"),
        5 => "BEGIN; ALTER TABLE parts DETACH PARTITION parts_low; UPDATE parts_low SET v = 'alone' WHERE id = 1;
              ALTER TABLE parts ATTACH PARTITION parts_low FOR VALUES FROM (0) TO (70); COMMIT"
            .to_owned(),
        6 => format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS extra int DEFAULT 7"),
        7 => format!("ALTER TABLE {table} DROP COLUMN IF EXISTS extra"),
        8 => "ALTER TABLE plain ALTER v TYPE text USING v || '!'".to_owned(),
        9 => "VACUUM FULL plain".to_owned(),
        10 => "CLUSTER versioned USING versioned_pkey".to_owned(),
        _ => "INSERT INTO pair SELECT a, 'm' || b, 'many', 0 FROM generate_series(0, 19) a, generate_series(1, 300) b
              ON CONFLICT DO NOTHING; DELETE FROM pair WHERE b LIKE 'm%'"
            .to_owned(),
    }
}

/// The functions that merge.
fn by_the_extension(dice: &mut Dice) -> String {
    let (table, k, n) = (*dice.one_of(&TABLES), key(dice), dice.below(1_000_000));
    match dice.below(4) {
        0 => format!("SELECT cache_sync.upsert('{table}', '{{\"id\": {k}, \"v\": \"u{n}\"}}')"),
        1 => format!("SELECT cache_sync.edit('{table}', '{{\"id\": {k}}}', '{{\"v\": \"e{n}\"}}')"),
        2 => format!("SELECT cache_sync.edit('versioned', '{{\"id\": {k}}}', '{{\"n\": 3}}')"),
        _ => format!("SELECT cache_sync.delete('{table}', '{{\"id\": {k}}}')"),
    }
}
