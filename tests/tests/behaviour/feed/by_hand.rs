//! A client that knows nothing but docs/feed.md: it takes the messages apart byte by byte as the tables there say, keeps rows by their
//! versions, and never holds one that is not as it is stored.

use cache_sync_kit::Dice;
use cache_sync_tests::{Database, SOON};
use std::collections::BTreeMap;
use std::future::poll_fn;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls};

const KEYS: i64 = 12;

/// What is held of a key: the row as JSON, none where there is no row, and its version, if that says something about order.
struct Entry {
    row: Option<String>,
    version: Option<u64>,
}

struct Follower {
    payloads: mpsc::UnboundedReceiver<String>,
    loads: Client,
    key_of_hash: BTreeMap<u64, i64>,
    table_id: i32,
    entries: BTreeMap<i64, Entry>,
    position: u64,
    hlc: u64,
    /// Changes that left an entry as it was, because it had their version already.
    echoes: usize,
}

/// "base64 (standard alphabet, no padding)"
fn bytes_of(payload: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in payload.bytes() {
        let value = ALPHABET.iter().position(|other| *other == letter).unwrap_or_else(|| panic!("{payload}"));
        (bits, count) = (bits << 6 | value as u32, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

/// Takes the next `count` bytes as a number, big-endian.
fn number(bytes: &mut &[u8], count: usize) -> u64 {
    let (first, rest) = bytes.split_at(count);
    *bytes = rest;
    first.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Follower {
    async fn open(db: &Database<'_>) -> Follower {
        let loads = db.connect().await;
        let hashes =
            "SELECT k, cache_sync.key_hash('t', jsonb_build_object('id', k)) FROM generate_series(1, $1::bigint) k";
        let hashes = loads.query(hashes, &[&KEYS]).await.unwrap();
        let key_of_hash = hashes.iter().map(|row| (row.get::<_, i64>(1) as u64, row.get(0))).collect();
        let id =
            loads.query_one("SELECT table_id FROM cache_sync.tables WHERE tbl = 't'::regclass", &[]).await.unwrap();
        let (client, mut connection) = tokio_postgres::connect(&db.dsn(), NoTls).await.unwrap();
        let (sender, payloads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(told) = message
                    && sender.send(told.payload().to_owned()).is_err()
                {
                    return;
                }
            }
        });
        tokio::spawn(async move { client.batch_execute("CALL cache_sync.stream()").await });
        let (entries, table_id) = (BTreeMap::new(), id.get(0));
        let mut follower = Follower { payloads, loads, key_of_hash, table_id, entries, position: 0, hlc: 0, echoes: 0 };
        follower.hear().await;
        follower
    }

    /// Hears one message.
    async fn hear(&mut self) {
        let payload = tokio::time::timeout(SOON, self.payloads.recv()).await.unwrap().unwrap();
        let message = bytes_of(&payload);
        let mut rest = &message[..];
        assert_eq!(number(&mut rest, 1), 3, "the protocol");
        let kind = number(&mut rest, 1) as u8;
        let _epoch = number(&mut rest, 8);
        self.position = number(&mut rest, 8);
        self.hlc = number(&mut rest, 8);
        rest = &rest[3 * 8..];
        match kind {
            b'S' => assert_eq!(number(&mut rest, 1), 0, "there is nothing to go on from"),
            b'G' => self.entries.clear(),
            b'C' => {
                while !rest.is_empty() {
                    let (table, hash) = (number(&mut rest, 4) as i32, number(&mut rest, 8));
                    let (version, kind) = (number(&mut rest, 8), number(&mut rest, 1));
                    if table == self.table_id {
                        self.change(hash, version, kind);
                    }
                }
            }
            other => assert_eq!(other, b'H'),
        }
        assert!(rest.is_empty(), "{payload}");
    }

    fn change(&mut self, hash: u64, version: u64, kind: u64) {
        const VERSIONED: u64 = 0;
        const WHOLE_TABLE: u64 = 2;
        const TAG: u64 = 3;
        match kind {
            WHOLE_TABLE => self.entries.clear(),
            TAG => {}
            _ => {
                let key = self.key_of_hash[&hash];
                let held = self.entries.get(&key).and_then(|entry| entry.version);
                if kind == VERSIONED && held.is_some_and(|held| held >= version) {
                    self.echoes += 1;
                } else {
                    self.entries.remove(&key);
                }
            }
        }
    }

    /// Hears everything that was committed before.
    async fn catch_up(&mut self) {
        let head = self.loads.query_one("SELECT feed_position FROM cache_sync.feed_head()", &[]).await.unwrap();
        let head = head.get::<_, i64>(0) as u64;
        while self.position < head {
            self.hear().await;
        }
    }

    /// "A row's version counts only if it is above 0 and at most 5 s ahead": what else may stand there was written by hand.
    fn counts(&self, version: Option<i64>) -> Option<u64> {
        version
            .and_then(|version| u64::try_from(version).ok())
            .filter(|version| (1..=self.hlc + 5_000_000).contains(version))
    }

    async fn load(&mut self, key: i64) {
        let row = self.loads.query_opt("SELECT v, cs_version FROM t WHERE id = $1", &[&key]).await.unwrap();
        let version = row.as_ref().and_then(|row| self.counts(row.get(1)));
        self.entries.insert(key, Entry { row: row.map(|row| row.get(0)), version });
    }

    /// A write of one's own, which is held as the answer shows it, ahead of the feed.
    async fn write(&mut self, key: i64, v: &str) {
        let update = "UPDATE t SET v = $2 WHERE id = $1 RETURNING v, cs_version";
        if let Some(row) = self.loads.query_opt(update, &[&key, &v]).await.unwrap() {
            let version = self.counts(row.get(1));
            self.entries.insert(key, Entry { row: Some(row.get(0)), version });
        }
    }

    async fn check(&self, what: &str) {
        for (key, entry) in &self.entries {
            let stored = self.loads.query_opt("SELECT v FROM t WHERE id = $1", &[key]).await.unwrap();
            let stored: Option<String> = stored.map(|row| row.get(0));
            assert_eq!(entry.row, stored, "key {key} after {what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_what_is_stored() {
    let db = Database::with_extension();
    db.psql("CREATE TABLE t (id bigint PRIMARY KEY, v text); SELECT cache_sync.attach('t', versioned => true, tags => '{v}')");
    let mut follower = Follower::open(&db).await;
    let others = db.connect().await;
    let mut dice = Dice::new(9);
    let (mut held, mut lost) = (0, 0);
    for round in 0..400 {
        let key = dice.below(KEYS as u64) as i64 + 1;
        // Some of these versions were written by hand.
        let version =
            ["cache_sync.hlc()", "cache_sync.hlc() + 4000000", "4102444800000000", "9223372036854775807", "-5", "NULL"];
        let version = version[dice.below(version.len() as u64) as usize];
        let statement = match dice.below(8) {
            0 => format!(
                "INSERT INTO t (id, v, cs_version) VALUES ({key}, 'r{round}', {version}) ON CONFLICT DO NOTHING"
            ),
            1 => format!("DELETE FROM t WHERE id = {key}"),
            2 => format!(
                "BEGIN; DELETE FROM t WHERE id = {key}; INSERT INTO t (id, v, cs_version) VALUES ({key}, 'r{round}', {version}); COMMIT"
            ),
            3 => format!("UPDATE t SET v = v || '.' WHERE id % 3 = {}", key % 3),
            4 if round % 10 == 0 => "TRUNCATE t".to_owned(),
            5 => {
                follower.write(key, &format!("own {round}")).await;
                "SELECT 1".to_owned()
            }
            _ => format!("UPDATE t SET v = 'r{round}' WHERE id = {key}"),
        };
        let before = follower.entries.len();
        others.batch_execute(&statement).await.unwrap();
        follower.catch_up().await;
        follower.check(&statement).await;
        held += follower.entries.len();
        lost += before.saturating_sub(follower.entries.len());
        follower.load(dice.below(KEYS as u64) as i64 + 1).await;
    }
    // It does hold rows, hears of changes, and knows its own by their versions.
    assert!(held > 800 && lost > 50 && follower.echoes > 10, "{held} held, {lost} lost, {} echoes", follower.echoes);
}
