//! Random statements, random changes: whenever a result differs, the dependencies had said so.
//!
//! The server itself runs them, a batch of statements a round trip: it asks what a statement depends on, and looks after each of
//! several changes whether the result is another one and whether a row changed that was said to matter. Rows stay as they are
//! changed, so what comes later is asked of other rows.

#[path = "property/statement.rs"]
mod statement;

use cache_sync_kit::Dice;
use cache_sync_tests::Database;
use serde_json::json;
use statement::Grammar;
use std::collections::BTreeMap;
use tokio_postgres::Client;

const TABLES: [&str; 3] = ["t1", "t2", "t3"];
/// Two values and a null: most conditions are true of some rows.
const VALUES: u64 = 2;

/// What changes is noted in a setting: a table would only grow.
const SETUP: &str = "
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed jsonb := current_setting('my.changed');
BEGIN
    IF TG_OP <> 'INSERT' THEN changed := changed || jsonb_build_object('table', TG_ARGV[0], 'row', to_jsonb(OLD)); END IF;
    IF TG_OP <> 'DELETE' THEN changed := changed || jsonb_build_object('table', TG_ARGV[0], 'row', to_jsonb(NEW)); END IF;
    PERFORM set_config('my.changed', changed::text, false);
    RETURN NULL;
END $$;
CREATE FUNCTION meant(value jsonb, parameters jsonb) RETURNS jsonb[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN value ? 'parameter' THEN ARRAY[parameters -> ((value ->> 'parameter')::int - 1)]
                WHEN value ? 'each_of' THEN ARRAY(SELECT jsonb_array_elements(parameters -> ((value ->> 'each_of')::int - 1)))
                WHEN value -> 'value' = '\"null\"' THEN ARRAY['null'::jsonb]
                ELSE ARRAY[value -> 'value' -> 'int'] END
$$;
-- Whether one of the rows that changed is one of those that were said to matter.
CREATE FUNCTION said(changed jsonb, dependencies jsonb, parameters jsonb) RETURNS boolean LANGUAGE sql AS $$
    SELECT EXISTS (
        SELECT FROM jsonb_array_elements(changed) c, jsonb_array_elements(dependencies -> 'tables') t
        WHERE t ->> 'relation' = 'public.' || (c ->> 'table') AND (
            (t ->> 'whole')::boolean
            OR EXISTS (SELECT FROM jsonb_each(t -> 'tags') tag, jsonb_array_elements(tag.value) v
                       WHERE c -> 'row' -> tag.key = ANY (meant(v, parameters)))
            OR EXISTS (SELECT FROM jsonb_array_elements(t -> 'keys') k
                       WHERE c -> 'row' -> 'id' = ANY (meant(k -> 0, parameters)))))
$$;
-- `mutilate` leaves the first table out.
CREATE PROCEDURE run(batch jsonb, mutilate boolean, INOUT missed text[], INOUT cases int, INOUT differ int, INOUT told int)
LANGUAGE plpgsql AS $$
DECLARE
    one jsonb; d jsonb; p jsonb; change text; ask text; before text; after text; says boolean;
BEGIN
    FOR one IN SELECT jsonb_array_elements(batch) LOOP
        p := one -> 'parameters';
        d := cache_sync.dependencies(one ->> 'sql', '{int,int,int[]}');
        IF d -> 'refused' <> '[]' THEN RAISE EXCEPTION 'refused: % %', one, d; END IF;
        IF mutilate THEN d := jsonb_set(d, '{tables}', (d -> 'tables') - 0); END IF;
        EXECUTE format('PREPARE ask (int, int, int[]) AS SELECT md5(string_agg(q::text, %L ORDER BY q::text)) FROM (%s) q',
                       '|', one ->> 'sql');
        ask := format('EXECUTE ask (%s, %s, %L)', p -> 0, p -> 1, translate(p ->> 2, '[]', '{}'));
        EXECUTE ask INTO before;
        FOR change IN SELECT jsonb_array_elements_text(one -> 'changes') LOOP
            PERFORM set_config('my.changed', '[]', false);
            EXECUTE change;
            EXECUTE ask INTO after;
            says := said(current_setting('my.changed')::jsonb, d, p);
            cases := cases + 1;
            differ := differ + (after IS DISTINCT FROM before)::int;
            told := told + says::int;
            IF after IS DISTINCT FROM before AND NOT says THEN
                missed := missed || format(E'%s\\n  with %s after %s\\n  of %s', one ->> 'sql', p, change, d);
            END IF;
            before := after;
        END LOOP;
        DEALLOCATE ask;
        -- Rows that are gone are cleared away only then.
        COMMIT;
    END LOOP;
END $$;";

async fn tables(db: &Database<'_>) -> Client {
    db.psql(SETUP);
    for table in TABLES {
        db.psql(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, a int, b int, c int);
             SELECT cache_sync.attach('{table}', tags => '{{a,b}}');
             INSERT INTO {table} SELECT n, n % 3, n % 2, (n + 1) % 3 FROM generate_series(0, 5) n;
             CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION note('{table}')"
        ));
    }
    db.psql("CREATE VIEW v1 (x, y) AS SELECT a, c FROM t1; CREATE VIEW v2 (x, y) AS SELECT l.b, r.a FROM t2 l LEFT JOIN t3 r ON r.a = l.a");
    db.psql("CREATE VIEW v3 (x, y) AS SELECT a, max(c) FROM t3 GROUP BY a UNION ALL SELECT b, id FROM t1 WHERE b = 1");
    let client = db.connect().await;
    client
        .batch_execute("SET synchronous_commit = off; SET jit = off; SET plan_cache_mode = force_generic_plan")
        .await
        .unwrap();
    client
}

fn value(dice: &mut Dice) -> String {
    if dice.once_in(6) { "NULL".into() } else { dice.below(VALUES).to_string() }
}

fn change(dice: &mut Dice) -> String {
    let (table, id) = (dice.one_of(&TABLES), dice.below(6));
    let column = dice.one_of(&["a", "b", "c"]);
    match dice.below(8) {
        0 => format!("DELETE FROM {table} WHERE id = {id}"),
        1 => format!(
            "UPDATE {table} SET id = {} WHERE id = {id} AND NOT EXISTS (SELECT FROM {table} WHERE id = {0})",
            dice.below(6)
        ),
        2..5 => format!("UPDATE {table} SET {column} = {} WHERE id = {id}", value(dice)),
        _ => format!(
            "INSERT INTO {table} VALUES ({id}, {}, {}, {}) ON CONFLICT (id) DO UPDATE SET {column} = excluded.{column}",
            value(dice),
            value(dice),
            value(dice)
        ),
    }
}

/// What a run of random cases came to.
#[derive(Debug, Default)]
struct Ran {
    missed: Vec<String>,
    cases: i32,
    differ: i32,
    told: i32,
}

async fn run(
    client: &Client,
    dice: &mut Dice,
    statements: usize,
    mutilate: bool,
    met: &mut BTreeMap<&'static str, u32>,
) -> Ran {
    const CHANGES: usize = 8;
    let batch: Vec<_> = (0..statements)
        .map(|_| {
            let sql = Grammar::new(dice, met).statement();
            let scalar = |dice: &mut Dice| json!(dice.below(VALUES));
            let parameters = json!([scalar(dice), scalar(dice), [scalar(dice), scalar(dice)]]);
            let changes: Vec<_> = (0..CHANGES).map(|_| change(dice)).collect();
            json!({ "sql": sql, "parameters": parameters, "changes": changes })
        })
        .collect();
    let ran = "CALL run($1::text::jsonb, $2, '{}', 0, 0, 0)";
    let row = client
        .query_one(ran, &[&json!(batch).to_string(), &mutilate])
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    Ran { missed: row.get(0), cases: row.get(1), differ: row.get(2), told: row.get(3) }
}

#[tokio::test]
async fn no_result_differs_without_a_dependency_that_says_so() {
    const BATCHES: usize = 10;
    const STATEMENTS: usize = 250;
    let db = Database::with_extension();
    let client = tables(&db).await;
    let mut dice = Dice::new(3);
    let mut met = BTreeMap::new();
    let mut all = Ran::default();
    for _ in 0..BATCHES {
        let ran = run(&client, &mut dice, STATEMENTS, false, &mut met).await;
        assert!(
            ran.missed.is_empty(),
            "{} were missed:\n{}",
            ran.missed.len(),
            ran.missed[..ran.missed.len().min(5)].join("\n")
        );
        all = Ran {
            missed: ran.missed,
            cases: all.cases + ran.cases,
            differ: all.differ + ran.differ,
            told: all.told + ran.told,
        };
    }
    assert_eq!(all.cases, 20_000);
    // The dice reach all that there is, some results differ, and others are known not to.
    assert!(statement::KINDS.iter().all(|kind| met.get(kind).is_some_and(|times| *times > 50)), "{met:?}");
    assert!(all.differ > 800 && all.cases - all.told > 5000, "{all:?}");
}

#[tokio::test]
async fn a_dependency_that_is_left_out_is_missed() {
    let db = Database::with_extension();
    let client = tables(&db).await;
    let ran = run(&client, &mut Dice::new(4), 100, true, &mut BTreeMap::new()).await;
    assert!(ran.missed.len() > 20, "{ran:?}");
}
