//! What would let changes of an attached table go by unheard is refused, or set right at once.

use cache_sync_tests::Database;
use cache_sync_tests::heard::Heard;

const PROBLEMS: &str = "SELECT tbl, problem FROM cache_sync.check_tables()";

/// `DISABLE TRIGGER ALL` for a load, then `ENABLE TRIGGER ALL`: ours were left as others are by default, and what logical
/// replication or a restore changed from then on was not told.
#[test]
fn triggers_that_somebody_disables_fire_all_the_same() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v int);
         CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF p DEFAULT;
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
         CREATE TRIGGER mine BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION no();
         SELECT cache_sync.attach('t', true), cache_sync.attach('p'); INSERT INTO t VALUES (1, 1)",
    );
    let key = r#"{"id": 1}"#;
    let mut heard = Heard::from_now(&db);
    for what in ["ALL", "USER", "cache_sync_change", "\"~cache_sync_version\""] {
        // The user's own is disabled, as he wants it.
        db.psql(&format!("ALTER TABLE t DISABLE TRIGGER {what}; ALTER TABLE t DISABLE TRIGGER mine"));
        heard.of("t", &[]);
        let version = db.psql("SELECT cs_version FROM t");
        db.psql("UPDATE t SET v = v + 1");
        assert_eq!(heard.of("t", &[key]), key, "{what}");
        assert_eq!(db.psql(&format!("SELECT cs_version > {version} FROM t")), "t", "{what}");
        db.psql(&format!("ALTER TABLE t ENABLE TRIGGER {what}; ALTER TABLE t DISABLE TRIGGER mine"));
        assert_eq!(db.psql(PROBLEMS), "", "{what}");
        heard.of("t", &[]);
        db.psql("SET session_replication_role = replica; UPDATE t SET v = v + 1");
        assert_eq!(heard.of("t", &[key]), key, "{what}");
    }
    db.psql(
        "ALTER TABLE p DISABLE TRIGGER ALL; ALTER TABLE part ENABLE TRIGGER ALL; ALTER TABLE ONLY p ENABLE TRIGGER ALL",
    );
    assert_eq!(db.psql(PROBLEMS), "");
    // Those of the extension's own tables, which a restore disables.
    for table in ["attached", "field", "secret"] {
        db.psql(&format!(
            "ALTER TABLE cache_sync.{table} DISABLE TRIGGER ALL; ALTER TABLE cache_sync.{table} ENABLE TRIGGER ALL"
        ));
    }
    let ours = "SELECT count(*), count(*) FILTER (WHERE tgenabled = 'A') FROM pg_trigger
                WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'cache\\_sync.%'";
    assert_eq!(db.psql(ours), "5|5");
}

/// A child that was made after its parent was attached: what was written to it showed in the parent, and was not told.
#[test]
fn an_attached_table_gets_no_children() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY, v text); CREATE TABLE grown (LIKE t);
         SELECT cache_sync.attach('t')",
    );
    for ddl in [
        "CREATE TABLE child () INHERITS (t)",
        "CREATE TABLE child () INHERITS (other, t)",
        "CREATE SCHEMA s CREATE TABLE child () INHERITS (public.t)",
        "ALTER TABLE grown INHERIT t",
        "ALTER TABLE t INHERIT other",
        "BEGIN; SAVEPOINT s; ALTER TABLE grown INHERIT t",
    ] {
        let error = db.psql_error(ddl);
        assert!(error.contains("42809") && error.contains("declarative partitioning"), "{ddl}: {error}");
    }
    // What others make of other tables is theirs, as are tables that are no longer attached.
    db.psql("CREATE TABLE child () INHERITS (other); SELECT cache_sync.detach('t'); ALTER TABLE grown INHERIT t");
    let error = db.psql_error("SELECT cache_sync.attach('t')");
    assert!(error.contains("42809") && error.contains("declarative partitioning"), "{error}");
}

/// Columns may go with their types, which no ALTER TABLE tells.
#[test]
fn a_column_that_goes_with_its_type_is_told() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (id int PRIMARY KEY, m mood, v int); SELECT cache_sync.attach('t')",
    );
    let mut heard = Heard::from_now(&db);
    db.psql("DROP TYPE mood CASCADE");
    assert_eq!(heard.of("t", &[]), "*");
    assert_eq!(db.psql("SELECT name FROM cache_sync.field WHERE NOT dropped"), "v");
}

/// Somebody drops the trigger, and rows change unheard until check_tables() is looked at: what others hold of them is old for ever.
#[test]
fn what_went_by_unheard_is_told_by_the_repair() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE vers (id int PRIMARY KEY, v int);
         CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF p DEFAULT;
         SELECT cache_sync.attach('t'), cache_sync.attach('vers', true), cache_sync.attach('p');
         INSERT INTO t VALUES (1, 1); INSERT INTO vers VALUES (1, 1); INSERT INTO p VALUES (1, 1)",
    );
    for table in ["t", "vers", "p"] {
        db.psql(&format!("DROP TRIGGER cache_sync_change ON {table}"));
        let mut heard = Heard::from_now(&db);
        db.psql(&format!("UPDATE {table} SET v = 2"));
        assert_eq!(heard.of(table, &[]), "", "{table}");
        db.psql(&format!("SELECT cache_sync.repair('{table}')"));
        assert_eq!(heard.of(table, &[]), "*", "{table}");
        assert_eq!(db.psql(PROBLEMS), "");
    }
}

/// Postgres lets a table's name and columns be altered by commands for other things.
#[test]
fn what_goes_by_another_command_is_heard() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, v int, w int); SELECT cache_sync.attach('t', tags => '{v}')");
    let mut heard = Heard::from_now(&db);
    for (ddl, table) in [
        ("ALTER VIEW t RENAME COLUMN v TO a", "t"),
        ("ALTER MATERIALIZED VIEW t RENAME COLUMN a TO b", "t"),
        ("ALTER FOREIGN TABLE t RENAME COLUMN b TO c", "t"),
        ("ALTER INDEX t RENAME TO renamed", "renamed"),
    ] {
        db.psql(ddl);
        assert_eq!(heard.of(table, &[]), "*", "{ddl}");
    }
    assert_eq!(
        db.psql("SELECT name FROM cache_sync.field ORDER BY field_id; SELECT tags FROM cache_sync.tables"),
        "c\nw\n{c}"
    );
}
