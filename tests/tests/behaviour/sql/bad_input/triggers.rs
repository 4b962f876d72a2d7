//! The trigger functions, called or put where they do not belong.

use super::{Case, Expected, Expected::*, call, call_inside};

/// A trigger, a statement that fires it, and what becomes of that.
const TRIGGERS: &[(&str, &str, Expected)] = &[
    (
        "BEFORE INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('1')",
        "INSERT INTO bare VALUES (1)",
        Error("39P01"),
    ),
    (
        "BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('1')",
        "UPDATE t SET a = 'z'",
        Error("39P01"),
    ),
    ("BEFORE DELETE ON k FOR EACH ROW EXECUTE FUNCTION cache_sync.note_truncate('2')", "DELETE FROM k", Error("39P01")),
    (
        "BEFORE INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync_internal.note_setup()",
        "INSERT INTO bare VALUES (1)",
        Error("39P01"),
    ),
    (
        "INSTEAD OF INSERT ON view FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('1')",
        "INSERT INTO view (id) VALUES (9)",
        Error("39P01"),
    ),
    ("BEFORE TRUNCATE ON bare EXECUTE FUNCTION cache_sync.note_truncate('1')", "TRUNCATE bare", Error("39P01")),
    (
        "AFTER INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change()",
        "INSERT INTO bare VALUES (1)",
        Error("39P01"),
    ),
    (
        "AFTER INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('x')",
        "INSERT INTO bare VALUES (1)",
        Error("39P01"),
    ),
    (
        "AFTER INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('99999999999')",
        "INSERT INTO bare VALUES (1)",
        Error("39P01"),
    ),
    (
        "AFTER INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('-5', 'more')",
        "INSERT INTO bare VALUES (1)",
        Answer(""),
    ),
    (
        "AFTER INSERT ON bare FOR EACH ROW EXECUTE FUNCTION cache_sync.note_change('1')",
        "INSERT INTO bare VALUES (1)",
        Answer(""),
    ),
    (
        "AFTER INSERT OR UPDATE OR DELETE ON bare EXECUTE FUNCTION cache_sync.note_change('1')",
        "INSERT INTO bare VALUES (1)",
        Answer(""),
    ),
    ("AFTER TRUNCATE ON bare EXECUTE FUNCTION cache_sync.note_truncate('1')", "TRUNCATE bare", Answer("")),
    (
        "AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version('1')",
        "UPDATE t SET a = 'z'",
        Error("39P01"),
    ),
    ("BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version('1')", "DELETE FROM t", Error("39P01")),
    ("BEFORE UPDATE ON t EXECUTE FUNCTION cache_sync.set_version('1')", "UPDATE t SET a = 'z'", Error("39P01")),
    (
        "BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version()",
        "UPDATE t SET a = 'z'",
        Error("39P01"),
    ),
    (
        "BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version('1')",
        "UPDATE plain SET v = 5",
        Answer(""),
    ),
    (
        "BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version('77')",
        "UPDATE t SET a = 'z'",
        Answer(""),
    ),
    (
        "BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION cache_sync.set_version('2')",
        "UPDATE t SET a = 'z'",
        Answer(""),
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> =
        ["note_change()", "note_truncate()", "set_version()"].map(|name| call(name, Error("39P01"))).into();
    cases.push(call_inside("note_setup()", Error("39P01")));
    cases.push(call_inside("unmatch()", Error("0A000")));
    for (trigger, statement, expected) in TRIGGERS {
        cases.push((format!("BEGIN; CREATE TRIGGER aa {trigger}; {statement}; ROLLBACK"), *expected));
    }
    cases.push((
        "BEGIN; CREATE CONSTRAINT TRIGGER aa AFTER INSERT OR UPDATE ON plain DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
         EXECUTE FUNCTION cache_sync.note_change('1'); UPDATE plain SET v = 5; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK"
            .into(),
        Answer(""),
    ));
    cases
}
