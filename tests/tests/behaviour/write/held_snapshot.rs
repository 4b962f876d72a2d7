//! A nightly dump ran for an hour, and every read that missed took longer by the minute. While any snapshot is held, Postgres keeps
//! all versions of a row, and a session's row has a new one with each batch: whoever looked for the newest came by all of them, each
//! load as well as each batch.

use cache_sync_tests::Database;
use tokio_postgres::Client;

const BATCHES: i64 = 640;
/// What a few versions of the row take, on pages of their own.
const PAGES_MORE: u64 = 12;
const SESSION: &str = "11111111-1111-4111-8111-111111111111";
const LOAD: &str = "SELECT (cache_sync.load_state('11111111-1111-4111-8111-111111111111', 1))[2]";

/// A session's line of batches that find no row, so that nothing but the session has versions.
struct Line {
    client: Client,
    last_seq: i64,
}

impl Line {
    fn next(&mut self) -> String {
        self.last_seq += 1;
        let patches =
            "(SELECT ARRAY[json_agg(json_build_object('#', id - 1, 'id', id))::text] FROM generate_series(1, 40) id)";
        let shapes = r#"[{"op": "delete"}]"#;
        format!("SELECT cache_sync.apply('t', '{SESSION}', 1, {}, '{shapes}', {patches})", self.last_seq)
    }

    /// The pages that a statement touches.
    async fn pages(&self, statement: &str) -> u64 {
        let rows = self.client.query(&format!("EXPLAIN (ANALYZE, BUFFERS) {statement}"), &[]).await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let buffers = lines.iter().find(|line| line.contains("Buffers:")).unwrap_or_else(|| panic!("{lines:?}"));
        buffers.split([' ', '=']).filter_map(|word| word.parse::<u64>().ok()).sum()
    }

    /// The pages that a load touches, and those of a batch.
    async fn costs(&mut self) -> (u64, u64) {
        let batch = self.next();
        (self.pages(LOAD).await, self.pages(&batch).await)
    }
}

async fn kept(client: &Client) -> (i64, i64) {
    let row = client.query_one("SELECT count(*), max(last_seq) FROM cache_sync.session", &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn neither_loads_nor_batches_get_dearer_while_a_snapshot_is_held() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id int PRIMARY KEY, n bigint NOT NULL); SELECT cache_sync.attach('t')");
    let mut line = Line { client: db.connect().await, last_seq: 0 };
    line.client.execute(&format!("SELECT cache_sync.open_session('t', '{SESSION}')"), &[]).await.unwrap();
    let mut before = (0, 0);
    for _ in 0..3 {
        // At first a backend reads the catalogs, too.
        before = line.costs().await;
    }
    let (dump, held_from) = (db.connect().await, line.last_seq);
    dump.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t").await.unwrap();
    for _ in 0..BATCHES {
        let batch = line.next();
        line.client.execute(&batch, &[]).await.unwrap();
    }
    for _ in 0..20 {
        let now = line.costs().await;
        let most = (before.0 + PAGES_MORE, before.1 + PAGES_MORE);
        assert!(now.0 <= most.0 && now.1 <= most.1, "{now:?} pages for a load and a batch, {before:?} before");
    }
    assert_eq!((kept(&dump).await, kept(&line.client).await), ((1, held_from), (1, line.last_seq)));
    assert_eq!(dump.query_one(LOAD, &[]).await.unwrap().get::<_, i64>(0), held_from);
    assert_eq!(line.client.query_one(LOAD, &[]).await.unwrap().get::<_, i64>(0), line.last_seq);
}
