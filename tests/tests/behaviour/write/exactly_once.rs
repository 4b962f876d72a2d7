//! The connection is cut after the server's commit and before its reply: was the batch applied? It is sent again, in the
//! same bytes under the same number, and applied once.

use cache_sync::{Cache, Client, Patch, Verdict};
use cache_sync_tests::Database;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{close, open};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use std::time::Duration;

const CUTS: u32 = 200;
const ROWS: u32 = 4;

#[derive(Serialize, Deserialize)]
struct Sum {
    sum: String,
}

/// Operation i adds 4^i, so that each has a digit of its own: 0 is lost, 2 or 3 is doubled.
#[tokio::test]
async fn each_of_200_batches_whose_reply_is_cut() {
    let db = Database::with_extension();
    db.psql(&format!(
        "CREATE TABLE tally (id int PRIMARY KEY, sum numeric NOT NULL);
         INSERT INTO tally SELECT n, 0 FROM generate_series(0, {ROWS} - 1) n;
         SELECT cache_sync.attach('tally', versioned => true, rules => '{{\"sum\": \"add\"}}')"
    ));
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db)).flush_interval(Duration::ZERO)).await;
    let cache: Cache<i32, Sum> = client.cache("tally").open().await.unwrap();
    // The session is opened before the first cut, so that it is batches that are cut.
    let opened = cache.patch(&0, Patch::new().add("sum", 0)).await.unwrap();
    assert!(opened.written().await.unwrap().is_written());
    for operation in 0..CUTS {
        proxy.faults.answers_to_cut.store(1, Ordering::Release);
        let (row, digit) = (operation % ROWS, operation / ROWS);
        let patch = Patch::new().add("sum", 4u128.pow(digit));
        let receipt = cache.patch(&(row as i32), patch).await.unwrap();
        assert_eq!(receipt.written().await.unwrap().verdict, Some(Verdict::Applied), "operation {operation}");
    }
    assert_eq!(proxy.faults.answers_cut.load(Ordering::Acquire), CUTS);
    for row in 0..ROWS {
        let mut sum: u128 = db.psql(&format!("SELECT sum FROM tally WHERE id = {row}")).parse().unwrap();
        for digit in 0..CUTS / ROWS {
            assert_eq!(sum % 4, 1, "digit {digit} of row {row}");
            sum /= 4;
        }
        assert_eq!(sum, 0, "row {row} has more digits than operations");
    }
    close(client).await;
}
