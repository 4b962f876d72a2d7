//! A deployment swapped a table for the next version of it, and patches that were under way went to the other one: they are sent by the
//! table's number, but the statement that carries them out names it, and looked the name up anew when the swap let it go on.

use cache_sync_tests::locks::until_waiting;
use cache_sync_tests::{Database, batches::Batches};
use serde_json::json;

const SWAP: &str = "BEGIN; ALTER TABLE price RENAME TO price_old; ALTER TABLE price_new RENAME TO price";

fn swappable<'a>() -> Database<'a> {
    let db = Database::with_extension();
    for name in ["price", "price_new"] {
        db.psql(&format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, n int NOT NULL); INSERT INTO {name} VALUES (1, 0);
             SELECT cache_sync.attach('{name}', rules => '{{\"n\": \"add\"}}')"
        ));
    }
    db
}

/// Does the work while the tables are being swapped: it has to wait for that.
async fn while_swapped<T>(db: &Database<'_>, work: impl Future<Output = T>) -> T {
    let console = db.connect().await;
    console.batch_execute(SWAP).await.unwrap();
    let swapped = async {
        until_waiting(db, 1).await;
        console.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(work, swapped).0
}

#[tokio::test]
async fn a_patch_goes_to_the_table_that_it_was_sent_to() {
    let db = swappable();
    let client = db.connect().await;
    let table: u32 = client.query_one("SELECT 'price'::regclass::oid", &[]).await.unwrap().get(0);
    let edit = format!("SELECT outcome FROM cache_sync.edit({table}::regclass, '{{\"id\": 1}}', '{{\"n\": 1}}')");
    // The first one compiles the statement.
    client.query_one(&edit, &[]).await.unwrap();
    let edited = while_swapped(&db, client.query_one(&edit, &[])).await;
    assert_eq!(edited.unwrap().get::<_, String>(0), "applied");
    assert_eq!(db.psql("SELECT (SELECT n FROM price_old), (SELECT n FROM price)"), "2|0");
}

#[tokio::test]
async fn so_does_a_batch() {
    let db = swappable();
    let mut batches = Batches::open(&db, "price").await;
    let (shapes, rows) = (json!([{"op": "edit", "fields": ["n"]}]), [json!([{"#": 0, "id": 1, "n": 1}])]);
    batches.verdicts(shapes.clone(), &rows).await;
    assert_eq!(while_swapped(&db, batches.verdicts(shapes, &rows)).await, ["applied"]);
    assert_eq!(db.psql("SELECT (SELECT n FROM price_old), (SELECT n FROM price)"), "2|0");
}
