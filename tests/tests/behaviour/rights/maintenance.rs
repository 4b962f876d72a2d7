//! Maintenance has the rights of who calls it, and lends them to nobody.

use cache_sync_tests::Database;

/// Maintenance leaves alone what the admin may not delete from.
#[tokio::test]
async fn maintenance_takes_the_right_to_delete() {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE sweeps LOGIN IN ROLE cache_sync_admin;
         CREATE TABLE mine (id int PRIMARY KEY, at timestamptz DEFAULT '-infinity'); CREATE TABLE theirs (LIKE mine INCLUDING ALL);
         SELECT cache_sync.attach('mine'), cache_sync.attach('theirs'); SELECT cache_sync.set_expiry('mine', 'at'), cache_sync.set_expiry('theirs', 'at');
         INSERT INTO mine VALUES (1), (2); INSERT INTO theirs VALUES (1), (2); GRANT DELETE ON mine TO sweeps; GRANT SELECT, UPDATE ON theirs TO sweeps",
    );
    assert_eq!(
        db.psql("SET ROLE sweeps; SELECT what, tbl, pruned FROM cache_sync.run_maintenance(1)"),
        "expired rows|mine|1\nsessions||0\ndead letters||0"
    );
    assert_eq!(db.psql("SELECT (SELECT count(*) FROM mine), (SELECT count(*) FROM theirs)"), "1|2");
}

/// A superuser's maintenance fires the triggers of whoever owns a table: they run as the owner and get no further.
#[test]
fn maintenance_gives_triggers_no_rights() {
    let db = Database::with_extension();
    db.psql(
        "CREATE ROLE plots LOGIN IN ROLE cache_sync_admin; CREATE SCHEMA p AUTHORIZATION plots; SET ROLE plots;
         CREATE TABLE p.seen (who text, how text); CREATE TABLE p.t (id int PRIMARY KEY, at timestamptz);
         CREATE TABLE p.later (id int PRIMARY KEY, at timestamptz);
         CREATE FUNCTION p.grab() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO p.seen VALUES (current_user, TG_NAME);
             BEGIN RESET ROLE; INSERT INTO p.seen VALUES (current_user, 'reset'); EXCEPTION WHEN OTHERS THEN NULL; END;
             RETURN OLD; END $$;
         CREATE TRIGGER now BEFORE DELETE ON p.t FOR EACH ROW EXECUTE FUNCTION p.grab();
         CREATE CONSTRAINT TRIGGER deferred AFTER DELETE ON p.later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION p.grab();
         SELECT cache_sync.attach('p.t'), cache_sync.attach('p.later');
         SELECT cache_sync.set_expiry('p.t', 'at'), cache_sync.set_expiry('p.later', 'at');
         INSERT INTO p.t VALUES (1, '-infinity'); INSERT INTO p.later VALUES (1, '-infinity')",
    );
    let prune = "SELECT tbl, pruned FROM cache_sync.run_maintenance() WHERE tbl IS NOT NULL";
    // What would run at the commit, when the superuser is back, is refused.
    assert_eq!(db.psql(&format!("SET client_min_messages = error; {prune}")), "p.t|1\np.later|0");
    assert_eq!(db.psql("SELECT * FROM p.seen"), "plots|now");
    assert_eq!(db.psql(&format!("SET SESSION AUTHORIZATION plots; {prune}")), "p.t|0\np.later|1");
}
