//! What becomes of a client's line of batches when the server forgets it, loses a part of it, or somebody else takes it
//! over.

use cache_sync::{Cache, Client, Patch, Verdict};
use cache_sync_tests::batches::{Batches, sqlstate};
use cache_sync_tests::dump::{dump, run_script};
use cache_sync_tests::locks::until_waiting;
use cache_sync_tests::proxy::Proxy;
use cache_sync_tests::rows::{Account, accounts, close, make_accounts, node, node_with, open};
use cache_sync_tests::{Database, SOON, output, start, unsynced, wait_until};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};

fn balance(db: &Database<'_>, id: i64) -> i64 {
    db.psql(&format!("SELECT balance FROM account WHERE id = {id}")).parse().unwrap()
}

/// Adds to an account, and waits for what Postgres made of that.
async fn add(cache: &Cache<i64, Account>, id: i64, step: i64) -> Option<Verdict> {
    let receipt = cache.patch(&id, Patch::new().add("balance", step)).await.unwrap();
    receipt.written().await.unwrap().verdict
}

#[tokio::test]
async fn a_batch_to_a_session_that_is_unknown_is_refused_and_nothing_of_it_applied() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let mut batches = Batches::open(&db, "account").await;
    let (edit, rows) = (json!([{"op": "edit", "fields": ["balance"]}]), [json!([{"#": 0, "id": 1, "balance": 1}])]);
    assert_eq!(batches.verdicts(edit.clone(), &rows).await, ["applied"]);
    db.psql("DELETE FROM cache_sync.session");
    for _ in 0..2 {
        assert_eq!(batches.refusal(edit.clone(), &rows).await, "CS001");
    }
    assert_eq!(balance(&db, 1), 1);
    batches.open_again().await;
    assert_eq!(batches.last_seq(), 0, "it is another line now");
    assert_eq!(batches.verdicts(edit, &rows).await, ["applied"]);
}

/// The session of a client that was idle for long was pruned. The write that finds that out was refused, not applied: it goes
/// on in a new session, as do those after it.
#[tokio::test]
async fn the_client_goes_on_after_its_session_was_pruned() {
    let (db, client, cache) = node_with(1).await;
    assert_eq!(add(&cache, 1, 1).await, Some(Verdict::Applied));
    db.psql("DELETE FROM cache_sync.session");
    assert_eq!(add(&cache, 1, 10).await, Some(Verdict::Applied));
    assert_eq!(add(&cache, 1, 100).await, Some(Verdict::Applied));
    assert_eq!(balance(&db, 1), 111);
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 111);
    close(client).await;
}

/// The answer to a batch was lost, and the session was pruned before it could be sent again: nobody knows any more.
#[tokio::test]
async fn a_batch_that_was_sent_to_a_pruned_session_is_unknown() {
    let db = Database::with_extension();
    make_accounts(&db, 2);
    let proxy = Proxy::start(db.cluster().port()).await;
    let client = open(Client::builder(&proxy.dsn(&db))).await;
    let cache = accounts(&client).await;
    assert_eq!(add(&cache, 1, 1).await, Some(Verdict::Applied));

    // The batch waits for the row, the pruning for the batch; so it comes before the batch is sent again.
    let (holder, pruner) = (db.connect().await, db.connect().await);
    holder.batch_execute("BEGIN; UPDATE account SET note = 'held' WHERE id = 1").await.unwrap();
    proxy.faults.answers_to_cut.store(1, Ordering::Release);
    let receipt = cache.patch(&1, Patch::new().add("balance", 10)).await.unwrap();
    until_waiting(&db, 1).await;
    let prune = tokio::spawn(async move {
        let prune =
            "BEGIN; LOCK TABLE cache_sync.session IN ACCESS EXCLUSIVE MODE; DELETE FROM cache_sync.session; COMMIT";
        pruner.batch_execute(prune).await.unwrap();
    });
    until_waiting(&db, 2).await;
    holder.batch_execute("COMMIT").await.unwrap();
    prune.await.unwrap();
    assert_eq!(receipt.written().await.unwrap().verdict, None);
    assert_eq!(proxy.faults.answers_cut.load(Ordering::Acquire), 1);
    assert_eq!(balance(&db, 1), 11, "it was not sent once more under another number");

    assert_eq!(add(&cache, 2, 5).await, Some(Verdict::Applied));
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 11);
    close(client).await;
}

/// The server was restored from a backup and has lost batches that it had confirmed: the client goes on with the number that
/// the server expects, once, and serves what the server has.
#[tokio::test]
async fn the_client_goes_on_where_a_restored_server_stands() {
    let cluster = start(unsynced());
    let db = Database::with_extension_in(&cluster);
    make_accounts(&db, 1);
    let (client, cache) = node(&db).await;
    assert_eq!(add(&cache, 1, 1).await, Some(Verdict::Applied));
    let backup = cluster.data_dir().with_file_name("backup");
    cluster.stop("fast").unwrap();
    output(Command::new("cp").arg("-a").arg(cluster.data_dir()).arg(&backup));
    cluster.launch().unwrap();
    for step in [10, 100] {
        assert_eq!(add(&cache, 1, step).await, Some(Verdict::Applied));
    }
    assert_eq!(cache.get(&1).await.unwrap().unwrap().balance, 111);

    cluster.stop("fast").unwrap();
    std::fs::remove_dir_all(cluster.data_dir()).unwrap();
    std::fs::rename(&backup, cluster.data_dir()).unwrap();
    cluster.launch().unwrap();
    assert_eq!(balance(&db, 1), 1);
    for (step, expected) in [(1_000, 1_001), (10_000, 11_001)] {
        assert_eq!(add(&cache, 1, step).await, Some(Verdict::Applied));
        assert_eq!(balance(&db, 1), expected);
    }
    wait_until(SOON, "the client serves what the server has", async || {
        cache.get(&1).await.is_ok_and(|row| row.unwrap().balance == 11_001)
    })
    .await;
    assert_eq!(db.psql("SELECT last_seq FROM cache_sync.session"), "3", "one before the backup, two after it");
    close(client).await;
}

#[tokio::test]
async fn a_server_that_is_behind_says_where_it_stands() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let mut batches = Batches::open(&db, "account").await;
    let (edit, rows) = (json!([{"op": "edit", "fields": ["balance"]}]), [json!([{"#": 0, "id": 1, "balance": 1}])]);
    for _ in 0..3 {
        batches.verdicts(edit.clone(), &rows).await;
    }
    let dumped = dump(&db, "sql", &[]);
    for _ in 0..2 {
        batches.verdicts(edit.clone(), &rows).await;
    }
    // The dump stands for a restore into another database.
    let restored = Database::empty_in(db.cluster());
    run_script(&restored, &dumped);
    let session = restored.psql("SELECT session FROM cache_sync.session");
    let apply = |seq: i64| {
        restored.try_psql(&format!(
            "SELECT last_seq FROM cache_sync.apply('account', '{session}', 1, {seq}, '{edit}', ARRAY['{}']::text[])",
            rows[0]
        ))
    };
    let error = apply(6).unwrap_err();
    assert!(error.contains("CS003") && error.contains("last_seq=3"), "{error}");
    assert_eq!(apply(4).unwrap(), "4");
    assert_eq!(apply(4).unwrap(), "4", "sent again");
    assert_eq!(restored.psql("SELECT balance FROM account"), "4");
}

/// A process of its own that has a session and does what it is told.
struct Process {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SESSION: &str = "6f1c9a52-0c5e-4d83-9a53-2f9c1f0d8a11";

impl Process {
    fn start(db: &Database<'_>) -> Process {
        let mut psql = db.client("psql");
        psql.args(["-XqAt", "-v", "VERBOSITY=sqlstate"]);
        let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, answers) = channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = lines.clone();
        std::thread::spawn(move || BufReader::new(stdout).lines().try_for_each(|line| lines.send(line.unwrap())));
        std::thread::spawn(move || BufReader::new(stderr).lines().try_for_each(|line| errors.send(line.unwrap())));
        Process { stdin: child.stdin.take().unwrap(), child, answers }
    }

    fn tell(&mut self, sql: &str) {
        writeln!(self.stdin, "{sql};").unwrap();
        self.stdin.flush().unwrap();
    }

    fn answer(&self) -> String {
        self.answers.recv_timeout(SOON).unwrap()
    }

    fn ask(&mut self, sql: &str) -> String {
        self.tell(sql);
        self.answer()
    }

    /// Opens the session that all of them share, as if its id had been copied.
    fn open_session(&mut self) -> (i64, i64) {
        let answer = self.ask(&format!("SELECT fence, last_seq FROM cache_sync.open_session('account', '{SESSION}')"));
        let (fence, last_seq) = answer.split_once('|').unwrap();
        (fence.parse().unwrap(), last_seq.parse().unwrap())
    }

    fn signal(&self, signal: &str) {
        output(Command::new("kill").arg(signal).arg(self.child.id().to_string()));
    }
}

/// A batch that adds to the balance of row 1.
fn batch(fence: i64, seq: i64, step: i64) -> String {
    format!(
        "SELECT last_seq FROM cache_sync.apply('account', '{SESSION}', {fence}, {seq}, \
         '[{{\"op\": \"edit\", \"fields\": [\"balance\"]}}]', ARRAY['[{{\"#\": 0, \"id\": 1, \"balance\": {step}}}]']::text[])"
    )
}

#[test]
fn of_two_processes_with_one_session_the_later_one_has_it() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let (mut first, mut second) = (Process::start(&db), Process::start(&db));
    let (fence, last_seq) = first.open_session();
    assert_eq!(first.ask(&batch(fence, last_seq + 1, 1)), "1");
    let (second_fence, last_seq) = second.open_session();
    assert_eq!((second_fence, last_seq), (fence + 1, 1));
    assert_eq!(first.ask(&batch(fence, 2, 10)), "ERROR:  CS002");
    assert_eq!(first.ask(&batch(fence, 1, 1)), "ERROR:  CS002", "not even what it had sent before");
    assert_eq!(second.ask(&batch(second_fence, 2, 100)), "2");
    assert_eq!(first.ask(&batch(fence, 3, 10)), "ERROR:  CS002");
    assert_eq!(balance(&db, 1), 101);
}

/// A process is stopped, another one takes over its session, and then the first one wakes up and goes on as if no time had
/// passed.
#[test]
fn a_process_that_wakes_up_after_another_one_took_over_applies_nothing() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let (mut zombie, mut heir) = (Process::start(&db), Process::start(&db));
    let (fence, _) = zombie.open_session();
    assert_eq!(zombie.ask(&batch(fence, 1, 1)), "1");
    zombie.signal("-STOP");
    // What it has still to do lies before it when it is stopped.
    zombie.tell(&batch(fence, 2, 10));
    zombie.tell(&batch(fence, 3, 10));
    let (heirs_fence, last_seq) = heir.open_session();
    assert_eq!(last_seq, 1);
    assert_eq!(heir.ask(&batch(heirs_fence, 2, 100)), "2");
    zombie.signal("-CONT");
    assert_eq!([zombie.answer(), zombie.answer()], ["ERROR:  CS002", "ERROR:  CS002"]);
    assert_eq!(balance(&db, 1), 101);
}

/// Its last batch is still under way in the server when it is stopped: whoever takes over waits for it, and learns that it
/// was applied.
#[tokio::test]
async fn who_takes_over_learns_of_the_batch_that_was_under_way() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let (mut zombie, mut heir) = (Process::start(&db), Process::start(&db));
    let (fence, _) = zombie.open_session();
    let holder = db.connect().await;
    holder.batch_execute("BEGIN; UPDATE account SET note = 'held'").await.unwrap();
    zombie.tell(&batch(fence, 1, 1));
    until_waiting(&db, 1).await;
    zombie.signal("-STOP");
    heir.tell(&format!("SELECT last_seq FROM cache_sync.open_session('account', '{SESSION}')"));
    until_waiting(&db, 2).await;
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(heir.answer(), "1");
    zombie.signal("-CONT");
    assert_eq!(zombie.answer(), "1");
    assert_eq!(zombie.ask(&batch(fence, 2, 10)), "ERROR:  CS002");
    assert_eq!(heir.ask(&batch(fence + 1, 2, 100)), "2");
    assert_eq!(balance(&db, 1), 101);
}

/// Fences are checked under the session's lock: of many that open a session at once each gets a number of its own, and only
/// the last one may write.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_open_a_session_at_once_leave_one_that_may_write() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let rivals: Vec<_> = (0..8)
        .map(|_| {
            let dsn = db.dsn();
            tokio::spawn(async move {
                let client = cache_sync_tests::connect(&dsn).await;
                let open = format!("SELECT fence FROM cache_sync.open_session('account', '{SESSION}')");
                let fence: i64 = client.query_one(&open, &[]).await.unwrap().get(0);
                (fence, client)
            })
        })
        .collect();
    let mut opened = Vec::new();
    for rival in rivals {
        opened.push(rival.await.unwrap());
    }
    opened.sort_by_key(|(fence, _)| *fence);
    assert!(opened.iter().map(|(fence, _)| *fence).eq(1..=8));
    for (fence, client) in &opened {
        let sent = client.execute(&batch(*fence, 1, 1), &[]).await;
        if *fence == 8 {
            assert_eq!(sent.unwrap(), 1);
        } else {
            assert_eq!(sqlstate(sent), "CS002");
        }
    }
    assert_eq!(balance(&db, 1), 1);
}

/// One opens a session for the first time, and gets far with it before that is committed: who opens it meanwhile for the first time, too,
/// must not have a second one of the same name.
#[tokio::test]
async fn a_session_is_made_once_however_far_it_gets_before_it_is_committed() {
    let db = Database::with_extension();
    make_accounts(&db, 1);
    let (mut first, mut second) = (Process::start(&db), Process::start(&db));
    first.tell("BEGIN");
    let (fence, _) = first.open_session();
    for seq in 1..=20 {
        assert_eq!(first.ask(&batch(fence, seq, 1)), seq.to_string());
    }
    second.tell(&format!("SELECT fence FROM cache_sync.open_session('account', '{SESSION}')"));
    until_waiting(&db, 1).await;
    first.tell("COMMIT");
    assert_eq!(second.answer(), "ERROR:  40001");
    assert_eq!(db.psql("SELECT fence, last_seq FROM cache_sync.session"), "1|20");
    assert_eq!(second.open_session(), (2, 20));
}
