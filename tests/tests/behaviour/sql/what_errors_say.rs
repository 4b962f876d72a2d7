//! Functions for SQL, given what they cannot use: nothing happens, and the error says what is wrong.

use cache_sync_tests::Database;

fn table(db: &Database<'_>) {
    db.psql(
        "CREATE TABLE t (a int, b int, v text, list jsonb, PRIMARY KEY (a, b));
         SELECT cache_sync.attach('t', true, '{\"list\": \"append\"}'); INSERT INTO t VALUES (1, 1, 'x', '[]')",
    );
}

fn assert_says(db: &Database<'_>, call: &str, error: &str) {
    let said = db.psql_error(&format!("SELECT cache_sync.{call}"));
    assert!(said.contains(error), "{call} says {said}");
    assert_eq!(db.psql("SELECT v, list FROM t"), "x|[]", "{call}");
}

#[test]
fn a_key_must_be_the_whole_key_and_nothing_else() {
    let db = Database::with_extension();
    table(&db);
    for (call, error) in [
        ("delete('t', '{\"a\": 1}')", "22023: the key's column \"b\" is missing"),
        ("edit('t', '{\"b\": 1}', '{\"v\": \"y\"}')", "22023: the key's column \"a\" is missing"),
        ("upsert('t', '{\"v\": \"y\"}')", "22023: the key's column \"a\" is missing"),
        ("compare_and_set('t', '{\"a\": 1, \"v\": \"y\"}', 1)", "22023: the key's column \"b\" is missing"),
        ("edit('t', '{\"a\": 1, \"b\": 1, \"v\": \"x\"}', '{\"v\": \"y\"}')", "22023: \"v\" is no column of the key"),
    ] {
        assert_says(&db, call, error);
    }
}

/// `delete` once took whatever else its key said for nothing, and deleted rows that were not meant.
#[test]
fn a_deletion_takes_no_condition() {
    let db = Database::with_extension();
    table(&db);
    assert_says(&db, "delete('t', '{\"a\": 1, \"b\": 1, \"v\": \"other\"}')", "22023: \"v\" is no column of the key");
    assert_eq!(db.psql("SELECT outcome FROM cache_sync.delete('t', '{\"a\": 1, \"b\": 1}')"), "applied");
}

#[test]
fn what_is_no_list_cannot_be_appended() {
    let db = Database::with_extension();
    table(&db);
    for (value, shown) in [("5", "5"), ("{\"a\": 1}", "{\"a\": 1}"), ("\"x\"", "\"x\"")] {
        let call = format!("edit('t', '{{\"a\": 1, \"b\": 1}}', '{{\"list\": {value}}}')");
        assert_says(&db, &call, &format!("22023: the rule append needs a list, not {shown}"));
    }
}

#[test]
fn a_function_is_named_with_its_types() {
    let db = Database::with_extension();
    table(&db);
    for name in ["merged", "public.merged", "merged(int", "merged()x"] {
        let rule = format!("{{\"rule\": \"function\", \"name\": \"{name}\"}}");
        let error = format!("22P02: the function {name} of a rule must be named with its types");
        assert_says(&db, &format!("set_rule('t', 'v', '{rule}')"), &error);
        assert_says(&db, &format!("merge('{rule}', '1', '2')"), &error);
    }
    let odd = "CREATE FUNCTION \"odd (name\"(text, text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $2'";
    db.psql(odd);
    db.psql(r#"SELECT cache_sync.set_rule('t', 'v', '{"rule": "function", "name": "\"odd (name\"( text, text ) "}')"#);
    assert_eq!(db.psql("SELECT rules #>> '{v,name}' FROM cache_sync.tables"), "public.\"odd (name\"(text,text)");
}

#[test]
fn tables_are_called_by_their_names() {
    let db = Database::with_extension();
    table(&db);
    db.psql("CREATE TABLE other (id int PRIMARY KEY)");
    assert_says(&db, "key_hash('other', '{\"id\": 1}')", "CS005: other is not attached");
    assert_says(&db, "repair(NULL)", "22004: tbl must not be null");
}

/// It once was `swallowed`, as if a trigger had cancelled it: there was nothing to set.
#[test]
fn compare_and_set_may_set_nothing() {
    let db = Database::with_extension();
    table(&db);
    let outcome = |version: &str| {
        let call = format!("cache_sync.compare_and_set('t', '{{\"a\": 1, \"b\": 1}}', {version})");
        db.psql(&format!("SELECT outcome, version = (SELECT cs_version FROM t) FROM {call}"))
    };
    assert_eq!(outcome("(SELECT cs_version FROM t)"), "unchanged|t");
    assert_eq!(outcome("(SELECT cs_version - 1 FROM t)"), "conflict|t");
    assert_eq!(outcome("0"), "conflict|t");
}

/// `merge()` once asked a STRICT function about nulls, and took null for an answer: patches do neither.
#[test]
fn merge_asks_a_function_as_patches_do() {
    let db = Database::with_extension();
    db.psql(
        "CREATE FUNCTION bits(int, int) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS 'SELECT nullif($1 | $2, 9)';
         CREATE TABLE t (id int PRIMARY KEY, n int);
         SELECT cache_sync.attach('t', rules => '{\"n\": {\"rule\": \"function\", \"name\": \"bits(int,int)\"}}')",
    );
    for (current, incoming, merged) in
        [("1", "6", "7"), ("null", "6", "6"), ("1", "null", "1"), ("null", "null", "null")]
    {
        let values = format!("'{{\"rule\": \"function\", \"name\": \"bits(int,int)\"}}', '{current}', '{incoming}'");
        assert_eq!(db.psql(&format!("SELECT cache_sync.merge({values})")), merged);
        db.psql(&format!("TRUNCATE t; INSERT INTO t VALUES (1, {current})"));
        let edit = format!("cache_sync.edit('t', '{{\"id\": 1}}', '{{\"n\": {incoming}}}')");
        assert_eq!(db.psql(&format!("SELECT row_after -> 'n' FROM {edit}")), merged);
    }
    let values = "'{\"rule\": \"function\", \"name\": \"bits(int,int)\"}', '8', '1'";
    let merge = db.psql_error(&format!("SELECT cache_sync.merge({values})"));
    db.psql("UPDATE t SET n = 8");
    let edit = db.psql_error("SELECT cache_sync.edit('t', '{\"id\": 1}', '{\"n\": 1}')");
    for error in [merge, edit] {
        assert!(error.contains("22004: the function public.bits returned null"), "{error}");
    }
}

/// Postgres' own errors name what they are about, and drivers hand that out: callers tell a taken name from a taken address by it.
/// pgrx once lost all five on the way.
#[test]
fn what_an_error_is_about_is_handed_on() {
    let db = Database::with_extension();
    db.psql(
        "CREATE DOMAIN age AS int CONSTRAINT plausible CHECK (VALUE < 150);
         CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL CONSTRAINT taken UNIQUE, years age,
             boss int CONSTRAINT employed REFERENCES t, paid int CONSTRAINT fair CHECK (paid > 0));
         CREATE FUNCTION frown() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             -- What is raised, caught and left is not what is raised in the end.
             BEGIN
                 RAISE 'no' USING CONSTRAINT = 'inner';
             EXCEPTION WHEN OTHERS THEN
                 NULL;
             END;
             -- Nor is one that says the same.
             IF NEW.id > 2 THEN
                 RAISE 'no';
             END IF;
             RAISE 'no' USING ERRCODE = 'ZZ001', CONSTRAINT = 'polite', TABLE = 'elsewhere';
         END $$;
         CREATE TRIGGER frown BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.name = 'rude') EXECUTE FUNCTION frown();
         SELECT cache_sync.attach('t', true); INSERT INTO t VALUES (1, 'ann');
         CREATE FUNCTION told(row_of jsonb) RETURNS text LANGUAGE plpgsql AS $$
         DECLARE c text; t text; s text; col text; d text;
         BEGIN
             PERFORM cache_sync.upsert('t', row_of);
             RETURN 'nothing';
         EXCEPTION WHEN OTHERS THEN
             GET STACKED DIAGNOSTICS c = CONSTRAINT_NAME, t = TABLE_NAME, s = SCHEMA_NAME, col = COLUMN_NAME, d = PG_DATATYPE_NAME;
             RETURN concat_ws(' ', SQLSTATE, c, t, s, col, d);
         END $$",
    );
    for (row, told) in [
        (r#"{"id": 2, "name": "ann"}"#, "23505 taken t public  "),
        (r#"{"id": 2, "name": "bob", "boss": 9}"#, "23503 employed t public  "),
        (r#"{"id": 2, "name": "bob", "paid": 0}"#, "23514 fair t public  "),
        (r#"{"id": 2, "name": null}"#, "23502  t public name "),
        (r#"{"id": 2, "name": "bob", "years": 150}"#, "23514 plausible  public  age"),
        (r#"{"id": 2, "name": "rude"}"#, "ZZ001 polite elsewhere   "),
        (r#"{"id": 3, "name": "rude"}"#, "P0001     "),
        (r#"{"id": 2, "name": "bob"}"#, "nothing"),
    ] {
        assert_eq!(db.psql(&format!("SELECT told('{row}')")), told, "{row}");
    }
}
