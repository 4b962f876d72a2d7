//! Schemas that other people made, as their packages ship them: attached, written by patches and by themselves, and left as
//! they were.

use cache_sync_tests::batches::Batches;
use cache_sync_tests::heard::Heard;
use cache_sync_tests::{Database, output};
use serde_json::{Map, Value, json};

/// A row to write to one of their tables.
struct Sample {
    table: &'static str,
    key: &'static str,
    /// The fields that a new row must have, or shall.
    fields: &'static str,
    /// One of them with another value.
    other: &'static str,
}

fn fixture(name: &str) -> String {
    let path = format!("{}/fixtures/{name}.sql", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn run(db: &Database<'_>, sql: &str) {
    output(db.client("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]));
}

/// Attaches every table that can be, versioned, with their counters under `add`; the others come back, each with the
/// SQLSTATE and message that it got.
fn attach_all(db: &Database<'_>, counters: &str) -> Vec<String> {
    let tables = db.psql(
        "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'cache_sync')
         ORDER BY c.relispartition, c.relname COLLATE \"C\"",
    );
    let attach = |table: &str| {
        db.try_psql(&format!(
            "SELECT cache_sync.attach('{table}', true, coalesce((SELECT jsonb_object_agg(attname, '\"add\"'::jsonb)
             FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = ANY ('{counters}')), '{{}}'),
             if_not_attached => true)"
        ))
    };
    let refused = tables.lines().filter_map(|table| Some(format!("{table}: {}", attach(table).err()?)));
    let refused = refused.collect();
    assert_eq!(db.psql("SELECT problem FROM cache_sync.check_tables()"), "");
    refused
}

fn object(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap()
}

/// A batch of one patch: shape and rows.
fn patch(op: &str, stamp: i64, key: &str, fields: &str) -> (Value, [Value; 1]) {
    let names: Vec<_> = object(fields).keys().cloned().collect();
    let mut row = json!({"#": 0, "@": stamp}).as_object().unwrap().clone();
    row.extend(object(key));
    row.extend(object(fields));
    (json!([{"op": op, "fields": names}]), [json!([row])])
}

async fn verdict(batches: &mut Batches, op: &str, stamp: i64, key: &str, fields: &str) -> String {
    let (shapes, rows) = patch(op, stamp, key, fields);
    batches.verdicts(shapes, &rows).await.remove(0)
}

/// Writes the samples in their order with every kind of patch and with plain SQL; each is heard.
async fn write(db: &Database<'_>, samples: &[Sample]) {
    for &Sample { table, key, fields, other } in samples {
        let mut batches = Batches::open(db, table).await;
        let mut heard = Heard::from_now(db);
        let stamp = batches.now().await;
        assert_eq!(verdict(&mut batches, "edit", stamp, key, other).await, "missing", "{table}");
        assert_eq!(verdict(&mut batches, "put", stamp, key, fields).await, "applied", "{table}");
        assert_eq!(heard.of(table, &[key]), key, "{table}");
        let later = batches.now().await;
        assert_eq!(verdict(&mut batches, "edit", later, key, other).await, "applied", "{table}");
        assert_eq!(heard.of(table, &[key]), key, "{table}");
        assert_eq!(verdict(&mut batches, "edit", stamp, key, other).await, "superseded", "{table}");

        let stored = |what: &str| db.psql(&format!("SELECT {what} FROM {table} t WHERE to_jsonb(t) @> '{key}'"));
        assert_eq!(stored(&format!("to_jsonb(t) @> '{other}'")), "t", "{table}");
        let mut doc = object(key);
        doc.extend(object(fields));
        let doc = Value::from(doc);
        let version = stored("cs_version");
        let set = format!("SELECT outcome FROM cache_sync.compare_and_set('{table}', '{doc}', {version})");
        assert_eq!((db.psql(&set).as_str(), db.psql(&set).as_str()), ("applied", "conflict"), "{table}");
        assert_eq!(stored(&format!("to_jsonb(t) @> '{fields}'")), "t", "{table}");
        let edit = format!("SELECT outcome FROM cache_sync.edit('{table}', '{key}', '{other}')");
        let upsert = format!("SELECT outcome FROM cache_sync.upsert('{table}', '{doc}')");
        assert_eq!((db.psql(&edit).as_str(), db.psql(&upsert).as_str()), ("applied", "applied"), "{table}");

        heard.of(table, &[]);
        let column = object(other).keys().next().unwrap().clone();
        db.psql(&format!("UPDATE {table} t SET {column} = {column} WHERE to_jsonb(t) @> '{key}'"));
        assert_eq!(heard.of(table, &[key]), key, "{table}");
        let last = batches.now().await;
        assert_eq!(verdict(&mut batches, "replace", last, key, fields).await, "applied", "{table}");
        assert_eq!(heard.of(table, &[key]), key, "{table}");
    }
}

/// Deletes them again, the last one first.
async fn delete(db: &Database<'_>, samples: &[Sample]) {
    for &Sample { table, key, .. } in samples.iter().rev() {
        let mut batches = Batches::open(db, table).await;
        let mut heard = Heard::from_now(db);
        let (mut shapes, rows) = patch("delete", batches.now().await, key, "{}");
        shapes[0].as_object_mut().unwrap().remove("fields");
        assert_eq!(batches.verdicts(shapes, &rows).await, ["applied"], "{table}");
        assert_eq!(heard.of(table, &[key]), key, "{table}");
    }
}

const DJANGO: &[Sample] = &[
    Sample {
        table: "django_content_type",
        key: r#"{"id": 1}"#,
        fields: r#"{"app_label": "blog", "model": "post"}"#,
        other: r#"{"model": "comment"}"#,
    },
    Sample {
        table: "auth_permission",
        key: r#"{"id": 1}"#,
        fields: r#"{"name": "Can add post", "content_type_id": 1, "codename": "add_post"}"#,
        other: r#"{"codename": "change_post"}"#,
    },
    Sample { table: "auth_group", key: r#"{"id": 1}"#, fields: r#"{"name": "editors"}"#, other: r#"{"name": "e"}"# },
    Sample {
        table: "auth_user",
        key: r#"{"id": 1}"#,
        fields: r#"{"password": "", "last_login": null, "is_superuser": false, "username": "ann", "first_name": "Ann",
                    "last_name": "A", "email": "ann@example.com", "is_staff": false, "is_active": true,
                    "date_joined": "2024-02-29T12:00:00+00:00"}"#,
        other: r#"{"last_name": "B"}"#,
    },
    Sample {
        table: "auth_group_permissions",
        key: r#"{"id": 4294967296}"#,
        fields: r#"{"group_id": 1, "permission_id": 1}"#,
        other: r#"{"permission_id": 2}"#,
    },
    Sample {
        table: "auth_user_groups",
        key: r#"{"id": 1}"#,
        fields: r#"{"user_id": 1, "group_id": 1}"#,
        other: r#"{"group_id": 2}"#,
    },
    Sample {
        table: "auth_user_user_permissions",
        key: r#"{"id": 1}"#,
        fields: r#"{"user_id": 1, "permission_id": 1}"#,
        other: r#"{"permission_id": 2}"#,
    },
];

/// Django's auth: attached after its first migrations, so that the others run on attached tables.
#[tokio::test]
async fn django() {
    let sql = fixture("django");
    let (first, rest) = sql.split_once("-- auth 0002\n").unwrap();
    let untouched = Database::with_extension();
    run(&untouched, &sql);

    let db = Database::with_extension();
    let (first, second) = first.split_once("-- contenttypes 0002\n").unwrap();
    run(&db, first);
    db.psql(
        "SELECT cache_sync.attach('django_content_type', true);
         INSERT INTO django_content_type VALUES (3, 'post', 'blog', 'post')",
    );
    let mut batches = Batches::open(&db, "django_content_type").await;
    let stamp = batches.now().await;
    let (key, name) = (r#"{"id": 3}"#, r#"{"model": "post", "name": "post"}"#);
    assert_eq!(verdict(&mut batches, "put", stamp, key, name).await, "applied");
    run(&db, second);
    let (shapes, rows) = patch("put", stamp, key, name);
    assert_eq!(batches.refusal(shapes, &rows).await, "42703");
    assert_eq!(verdict(&mut batches, "put", stamp + 1, key, r#"{"model": "entry"}"#).await, "applied");
    run(&db, "DELETE FROM django_content_type");
    assert_eq!(attach_all(&db, "{}"), [""; 0]);
    let mut batches = Batches::open(&db, "auth_group").await;
    let stamp = batches.now().await;
    let long = json!({"name": "x".repeat(100)}).to_string();
    assert_eq!(verdict(&mut batches, "put", stamp, r#"{"id": 2}"#, &long).await, "rejected 22001");
    run(&db, rest);
    assert_eq!(verdict(&mut batches, "put", stamp, r#"{"id": 2}"#, &long).await, "applied");
    assert_eq!(db.psql("SELECT problem FROM cache_sync.check_tables()"), "");
    run(
        &db,
        "INSERT INTO django_content_type VALUES (2, 'x', 'y');
         INSERT INTO auth_permission (id, name, content_type_id, codename) VALUES (2, 'x', 2, 'y')",
    );
    write(&db, DJANGO).await;

    // Foreign keys are checked at the end of the batch, one by one, although Django defers them.
    let mut batches = Batches::open(&db, "auth_user_groups").await;
    let stamp = batches.now().await;
    let put = json!([{"op": "put", "fields": ["group_id", "user_id"]}]);
    let rows = [json!([
        {"#": 0, "@": stamp, "id": 5, "user_id": 1, "group_id": 77},
        {"#": 1, "@": stamp, "id": 6, "user_id": 1, "group_id": 2},
        {"#": 2, "@": stamp, "id": 7, "user_id": 1, "group_id": 1},
    ])];
    assert_eq!(batches.verdicts(put, &rows).await, ["rejected 23503", "applied", "rejected 23505"]);
    db.psql("DELETE FROM auth_user_groups WHERE id = 6");

    delete(&db, DJANGO).await;
    db.psql("SELECT cache_sync.detach_all(drop_columns => true)");
    assert_eq!(db.schema(), untouched.schema());
}

const PROCRASTINATE: &[Sample] = &[
    Sample {
        table: "procrastinate_workers",
        key: r#"{"id": 5}"#,
        fields: r#"{"last_heartbeat": "2024-02-29T12:00:00+00:00"}"#,
        other: r#"{"last_heartbeat": "2024-03-01T12:00:00+00:00"}"#,
    },
    Sample {
        table: "procrastinate_jobs",
        key: r#"{"id": 1000}"#,
        fields: r#"{"queue_name": "q", "task_name": "t", "lock": null, "queueing_lock": "l", "args": {"a": [1, {"b": null}]},
                    "status": "todo", "scheduled_at": "2024-02-29T12:00:00+00:00", "worker_id": 5}"#,
        other: r#"{"status": "doing"}"#,
    },
    Sample {
        table: "procrastinate_periodic_defers",
        key: r#"{"id": 1000}"#,
        fields: r#"{"task_name": "t", "defer_timestamp": 9007199254740993, "job_id": 1000, "periodic_id": ""}"#,
        other: r#"{"periodic_id": "p"}"#,
    },
    Sample {
        table: "procrastinate_events",
        key: r#"{"id": 1000}"#,
        fields: r#"{"job_id": 1000, "type": "scheduled", "at": null}"#,
        other: r#"{"type": "aborted"}"#,
    },
];

/// A queue with enums, triggers that write to its other tables, partial unique indexes and foreign keys that set null or
/// cascade.
#[tokio::test]
async fn procrastinate() {
    let db = Database::with_extension();
    run(&db, &fixture("procrastinate"));
    let before = db.schema();
    assert_eq!(attach_all(&db, "{attempts}"), [""; 0]);
    write(&db, PROCRASTINATE).await;
    // Their counter is added to.
    let mut jobs = Batches::open(&db, "procrastinate_jobs").await;
    let stamp = jobs.now().await;
    for _ in 0..3 {
        assert_eq!(verdict(&mut jobs, "edit", 0, r#"{"id": 1000}"#, r#"{"attempts": 1}"#).await, "applied");
    }
    assert_eq!(db.psql("SELECT attempts FROM procrastinate_jobs"), "3");
    // A partial unique index and a check refuse single patches.
    let put = json!([{"op": "put", "fields": ["abort_requested", "queue_name", "queueing_lock", "task_name"]}]);
    let row = |number: i64, lock: &str, abort: bool| {
        json!({"#": number, "@": stamp, "id": 2000 + number, "queue_name": "q", "task_name": "t", "queueing_lock": lock,
               "abort_requested": abort})
    };
    let rows = [json!([row(0, "l", false), row(1, "m", false), row(2, "n", true)])];
    assert_eq!(jobs.verdicts(put, &rows).await, ["rejected 23505", "applied", "rejected 23514"]);

    // What their own functions and triggers do is heard on all tables that they touch.
    let mut heard = Heard::from_now(&db);
    let job = db.psql(
        "SELECT (procrastinate_defer_jobs_v1(ARRAY[ROW('q', 't', 0, NULL, NULL, '{}', NULL)]::procrastinate_job_to_defer_v1[]))[1]",
    );
    let key = format!("{{\"id\": {job}}}");
    assert_eq!(heard.peek("procrastinate_jobs", &[&key]), key);
    assert_eq!(heard.of("procrastinate_events", &[]), "?");
    // A worker goes: its jobs lose it. A job goes: its events go along, its periodic defers are unlinked by a trigger.
    db.psql("DELETE FROM procrastinate_workers");
    let key = r#"{"id": 1000}"#;
    assert_eq!(heard.of("procrastinate_jobs", &[key]), key);
    assert_eq!(db.psql("SELECT worker_id IS NULL FROM procrastinate_jobs WHERE id = 1000"), "t");
    let mut heard = Heard::from_now(&db);
    let delete_job = "SELECT outcome FROM cache_sync.delete('procrastinate_jobs', '{\"id\": 1000}')";
    assert_eq!(db.psql(delete_job), "applied");
    assert_eq!(heard.peek("procrastinate_periodic_defers", &[key]), key);
    assert!(heard.of("procrastinate_events", &[key]).starts_with(key));
    assert_eq!(db.psql("SELECT job_id IS NULL FROM procrastinate_periodic_defers"), "t");

    db.psql("SELECT cache_sync.detach_all(drop_columns => true)");
    assert_eq!(db.schema(), before);
}

const PG_BOSS: &[Sample] = &[
    Sample {
        table: "pgboss.version",
        key: r#"{"version": 25}"#,
        fields: r#"{"maintained_on": null}"#,
        other: r#"{"maintained_on": "2024-02-29T12:00:00+00:00"}"#,
    },
    Sample {
        table: "pgboss.queue",
        key: r#"{"name": "written"}"#,
        fields: r#"{"policy": "standard", "retry_backoff": true, "dead_letter": "later"}"#,
        other: r#"{"dead_letter": null}"#,
    },
    Sample {
        table: "pgboss.schedule",
        key: r#"{"name": "written"}"#,
        fields: r#"{"cron": "* * * * *", "data": {"x": 1.50}}"#,
        other: r#"{"cron": "0 * * * *"}"#,
    },
    Sample {
        table: "pgboss.subscription",
        key: r#"{"event": "e", "name": "written"}"#,
        fields: r#"{"created_on": "2024-02-29T12:00:00+00:00"}"#,
        other: r#"{"created_on": "2024-03-01T12:00:00+00:00"}"#,
    },
    Sample {
        table: "pgboss.job",
        key: r#"{"name": "before", "id": "6dc2a1ba-5f3e-4a70-8ab5-5a2d6d6c1a4c"}"#,
        fields: r#"{"data": {"a": 1}, "singleton_on": "2024-02-29T12:00:00", "expire_in": "00:15:00", "state": "created"}"#,
        other: r#"{"state": "active"}"#,
    },
    Sample {
        table: "pgboss.job",
        key: r#"{"name": "later", "id": "6dc2a1ba-5f3e-4a70-8ab5-5a2d6d6c1a4c"}"#,
        fields: r#"{"data": null, "state": "active"}"#,
        other: r#"{"state": "failed"}"#,
    },
    Sample {
        table: "pgboss.archive",
        key: r#"{"name": "later", "id": "6dc2a1ba-5f3e-4a70-8ab5-5a2d6d6c1a4c"}"#,
        fields: r#"{"priority": 1, "state": "failed", "retry_limit": 1, "retry_count": 1, "retry_delay": 1,
                    "retry_backoff": false, "start_after": "2024-02-29T12:00:00+00:00", "expire_in": "00:15:00",
                    "created_on": "2024-02-29T12:00:00+00:00", "keep_until": "2024-02-29T12:00:00+00:00"}"#,
        other: r#"{"state": "cancelled"}"#,
    },
];

/// A queue whose functions make and drop partitions, which are copies of their table.
#[tokio::test]
async fn pg_boss() {
    let db = Database::with_extension();
    run(&db, &fixture("pg_boss"));
    db.psql("SELECT pgboss.create_queue('before', '{}')");
    let before = db.schema();
    let refused = attach_all(&db, "{retry_count}");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].starts_with("pgboss.j") && refused[0].contains("42809"), "{refused:?}");
    assert!(refused[0].contains("Attach the whole table: SELECT cache_sync.attach('pgboss.job')"), "{refused:?}");

    // The copy brings columns and default along, and is given the trigger for TRUNCATE.
    let mut heard = Heard::from_now(&db);
    db.psql("SELECT pgboss.create_queue('later', '{}')");
    assert_eq!((heard.peek("pgboss.job", &[]).as_str(), heard.of("pgboss.queue", &[])), ("*", "?".into()));
    assert_eq!(db.psql("SELECT problem, hint FROM cache_sync.check_tables()"), "");
    write(&db, PG_BOSS).await;

    // As its own code moves a job along, and to the archive.
    heard.of("pgboss.job", &[]);
    let key = PG_BOSS[4].key;
    db.psql("UPDATE pgboss.job SET state = 'completed', retry_count = retry_count + 1 WHERE name = 'before'");
    assert_eq!(heard.of("pgboss.job", &[key]), key);
    let counted = format!("SELECT outcome FROM cache_sync.edit('pgboss.job', '{key}', '{{\"retry_count\": 2}}')");
    assert_eq!(db.psql(&counted), "applied");
    assert_eq!(db.psql("SELECT retry_count FROM pgboss.job WHERE name = 'before'"), "3");
    let mut batches = Batches::open(&db, "pgboss.job").await;
    let stamp = batches.now().await;
    let nowhere = r#"{"name": "nowhere", "id": "6dc2a1ba-5f3e-4a70-8ab5-5a2d6d6c1a4c"}"#;
    assert_eq!(verdict(&mut batches, "put", stamp, nowhere, r#"{"state": "created"}"#).await, "rejected 23514");

    delete(&db, PG_BOSS).await;
    heard.of("pgboss.job", &[]);
    db.psql("SELECT pgboss.delete_queue('later')");
    assert_eq!(heard.of("pgboss.job", &[]), "*");
    db.psql("SELECT cache_sync.detach_all(drop_columns => true)");
    assert_eq!(db.schema(), before);
}
