//! Every function of the extension, called with arguments that nobody would think of: none may show an error of its inside,
//! break the connection or the server, or change a row.

use cache_sync_kit::Dice;
use cache_sync_tests::Database;
use tokio_postgres::Client;

/// What arguments of a type are drawn from, as SQL.
const POOLS: &[(&str, &[&str])] = &[
    ("bigint", &["NULL", "0", "1", "-1", "9223372036854775807", "'-9223372036854775808'", "1700000000000000"]),
    ("integer", &["NULL", "0", "1", "-1", "2147483647", "'-2147483648'"]),
    ("smallint", &["NULL", "'0'", "'1'", "'3'", "'-1'", "'32767'", "'-32768'"]),
    ("boolean", &["NULL", "true", "false"]),
    ("oid", &["NULL", "'0'", "'23'", "'25'", "'3802'", "'1007'", "'4294967295'", "'t'::regclass::oid"]),
    ("regclass", &["NULL", "'t'", "'docs'", "'bare'", "'pg_class'", "0", "4294967295"]),
    (
        "text",
        &[
            "NULL",
            "''",
            "'x'",
            "'\"json\"'",
            "'\"add\"'",
            "'{\"rule\": \"json\", \"depth\": 1, \"members\": {\"a\": \"append\", \"b\": \"union\", \"c\": \"first\"}}'",
            "repeat('[', 2000)",
            "'f(int,int)'",
        ],
    ),
    ("name", &["NULL", "''", "'v'", "'nope'"]),
    ("uuid", &["NULL", "'11111111-1111-4111-8111-111111111111'"]),
    ("numeric", &["NULL", "'NaN'", "'Infinity'", "0", "-1e100", "1e131071"]),
    ("interval", &["NULL", "'1 day'", "'-1 day'", "'0'"]),
    (
        "bytea",
        &[
            "NULL",
            "''",
            "'\\x00'",
            "'\\xff'",
            "'\\x01'",
            "'\\x010000000000000005'",
            "'\\x817fffffffffffffff'",
            "'\\x0100000000000000050001000000000000000700020000000000000009'",
            "'\\x02000000000000000a0000000300020061ff0000000000000007'",
            "'\\x82000000000000000a0000000300020061ff0000000000000007'",
            "'\\x02ffffffffffffffffffff'",
            "decode(repeat('02', 70000), 'hex')",
        ],
    ),
    ("json", &["NULL", "'null'", "'[]'", "'[{}]'", "'[{\"#\": 0, \"@\": 1, \"id\": 1, \"v\": 1}]'"]),
    (
        "jsonb",
        &[
            "NULL",
            "'null'",
            "'1'",
            "'1e400'",
            "'\"x\"'",
            "'true'",
            "'[]'",
            "'[1, \"x\", null, {}, []]'",
            "'{}'",
            "'{\"a\": 1, \"b\": {\"c\": [1]}, \"c\": null}'",
            "'{\"a\": [1], \"b\": {\"add\": [1], \"remove\": []}}'",
            "'{\"add\": [1, null], \"remove\": [\"x\"]}'",
            "'[[1, {\"a\": 1}], [9223372036854775807, null]]'",
            "'[[-1, {}]]'",
            "'\"add\"'",
            "'\"union\"'",
            "'\"json\"'",
            "'{\"rule\": \"append\", \"cap\": 1}'",
            "'{\"rule\": \"json\", \"members\": {\"a\": \"max\"}}'",
            "(repeat('[', 3000) || repeat(']', 3000))::jsonb",
            "(repeat('{\"a\":', 3000) || '1' || repeat('}', 3000))::jsonb",
            "'{\"id\": 1}'",
            "'{\"id\": 1, \"v\": 5}'",
        ],
    ),
    (
        "bigint[]",
        &[
            "NULL",
            "'{}'",
            "'{1}'",
            "'{1,2,3}'",
            "'{NULL,1}'",
            "'{{1,2},{3,4}}'",
            "'[0:0]={7}'",
            "'{9223372036854775807,-9223372036854775808}'",
        ],
    ),
    (
        "smallint[]",
        &["NULL", "'{}'", "'{1}'", "'{1,2,3}'", "'{3,3,3}'", "'{NULL}'", "'{{1},{2}}'", "'[-5:-4]={1,-32768}'"],
    ),
    ("integer[]", &["NULL", "'{}'", "'{1,NULL}'", "'{{1},{2}}'"]),
    ("name[]", &["NULL", "'{}'", "'{v}'", "'{NULL}'"]),
    ("text[]", &["NULL", "'{}'", "ARRAY['[]', NULL]::text[]", "ARRAY[['[]']]::text[]"]),
    (
        "anyarray",
        &[
            "NULL::int[]",
            "'{}'::int[]",
            "'{1,NULL,3}'::int[]",
            "'{{1,2},{3,4}}'::int[]",
            "'[7:8]={1,2}'::int[]",
            "'{a,\"\",NULL}'::text[]",
            "'1 2'::oidvector",
            "'1 2'::int2vector",
            "ARRAY[ROW(1, 'x')]",
            "ARRAY['(1,2)'::point]",
            "'{1.5,NaN}'::numeric[]",
            "ARRAY['{}'::jsonb, 'null']",
            "'{2020-01-01,infinity}'::date[]",
        ],
    ),
    (
        "anyelement",
        &[
            "NULL::int",
            "1",
            "2",
            "'x'::text",
            "NULL::text",
            "'NaN'::float8",
            "'{}'::jsonb",
            "'{}'::json",
            "'(1,2)'::point",
            "ROW(1, 'x')",
            "'{1}'::int[]",
            "'f'::cstring",
            "'a'::name",
            "true",
            "'a'::\"char\"",
            "'11111111-1111-4111-8111-111111111111'::uuid",
            "repeat('x', 100000)",
        ],
    ),
    ("xid", &["NULL", "'0'", "'3'", "'4294967295'"]),
    ("regproc", &["NULL", "0", "'cache_sync.note_change'", "'cache_sync.set_version'", "'pg_catalog.now'"]),
    ("oid[]", &["NULL", "'{}'::oid[]", "'{0,1259,NULL}'::oid[]", "ARRAY['t'::regclass::oid, 23]"]),
    (
        "regtype[]",
        &["NULL", "'{}'::regtype[]", "'{int,NULL}'::regtype[]", "'{{text},{int}}'::regtype[]", "ARRAY[0]::regtype[]"],
    ),
    ("cache_sync.attached", &["NULL", "(SELECT a FROM cache_sync.attached a WHERE tbl = 't'::regclass)"]),
    ("pg_attribute", &["NULL", "(SELECT a FROM pg_attribute a WHERE attrelid = 't'::regclass AND attnum = 1)"]),
];

fn pool(type_name: &str) -> &'static [&'static str] {
    let of_type = POOLS.iter().find(|(name, _)| *name == type_name);
    of_type.unwrap_or_else(|| panic!("no arguments for the type {type_name}")).1
}

async fn state(client: &Client) -> String {
    let sql = "SELECT md5(string_agg(t::text, '|' ORDER BY id)) || (SELECT count(*) FROM cache_sync.dead_letter)
        || (SELECT md5(string_agg(s::text, '|')) FROM cache_sync.session s) || (SELECT md5(string_agg(a::text, '|')) FROM cache_sync.attached a)
        || pg_postmaster_start_time() || cache_sync.epoch() || pg_backend_pid() FROM t";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn never_break_anything() {
    let db = Database::with_extension();
    db.psql(
        "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE bare (id int PRIMARY KEY, v int);
         SELECT cache_sync.attach('t', true, '{\"v\": \"add\"}'); INSERT INTO t VALUES (1, 1), (2, NULL);
         SELECT cache_sync.create_table('docs'); INSERT INTO docs VALUES ('d', '{\"a\": 1}')",
    );
    let client = db.connect().await;
    client.batch_execute("SELECT cache_sync.open_session('t', '11111111-1111-4111-8111-111111111111')").await.unwrap();
    let functions = client
        .query(
            "SELECT p.oid::regproc::text, ARRAY(SELECT format_type(a, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY u(a, n) ORDER BY n)
             FROM pg_proc p WHERE pronamespace IN ('cache_sync'::regnamespace, 'cache_sync_internal'::regnamespace)
               AND prokind = 'f' AND prorettype <> 'trigger'::regtype
             ORDER BY p.oid::regprocedure::text",
            &[],
        )
        .await
        .unwrap();
    assert!(functions.len() > 70, "{}", functions.len());
    let before = state(&client).await;
    let (mut dice, mut answered, mut refused) = (Dice::new(42), 0, 0);
    for function in &functions {
        let (name, types): (String, Vec<String>) = (function.get(0), function.get(1));
        let pools: Vec<_> = types.iter().map(|of| pool(of)).collect();
        for round in 0..(if pools.is_empty() { 1 } else { 60 }) {
            // First all nulls, then each value of the first argument's once, then anything.
            let argument = |place: usize, pool: &&'static [&'static str], dice: &mut Dice| match round {
                0 => pool[0],
                _ if place == 0 && round < pool.len() => pool[round],
                _ => pool[dice.below(pool.len() as u64) as usize],
            };
            let arguments: Vec<_> =
                pools.iter().enumerate().map(|(place, pool)| argument(place, pool, &mut dice)).collect();
            let sql = format!("SELECT {name}({})", arguments.join(", "));
            client.batch_execute("BEGIN").await.unwrap();
            match client.simple_query(&sql).await {
                Ok(_) => answered += 1,
                Err(error) => {
                    let Some(said) = error.as_db_error() else { panic!("{sql}: {error}") };
                    let shown = format!("{said:?}");
                    let is_internal =
                        said.code().code() == "XX000" || shown.contains("panicked") || shown.contains(".rs");
                    assert!(!is_internal, "{sql}: {shown}");
                    refused += 1;
                }
            }
            client.batch_execute("ROLLBACK").await.unwrap();
        }
        assert_eq!(state(&client).await, before, "{name}");
    }
    assert!(answered > 500 && refused > 500, "{answered} answered, {refused} refused");
}
