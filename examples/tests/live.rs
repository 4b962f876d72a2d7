//! The live examples: what SQL and another node do reaches those who look, by server-sent events and by a websocket; and a node that ends loses nothing.

use cache_sync_examples::plain_sql;
use cache_sync_tests::locks::until_waiting;
use cache_sync_tests::{Database, SOON, output, wait_until};
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::future::Future;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A node of an example, and where it listens.
async fn node(db: &Database<'_>, program: &str) -> (Child, String) {
    let mut command = Command::new(program);
    command.env("DATABASE_URL", db.dsn()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut node = command.spawn().expect("it starts");
    let mut line = String::new();
    let output = node.stdout.as_mut().expect("it has an output");
    soon(BufReader::new(output).read_line(&mut line)).await.expect("it says where it listens");
    let address = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
    (node, address)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it comes soon")
}

/// Asks, with a body of JSON.
async fn ask(address: &str, method: &str, path: &str, body: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}");
    let request = format!("{head}\r\nContent-Type: application/json\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    BufReader::new(stream)
}

/// The status of an answer, once all of it is there.
async fn status(answer: &mut BufReader<TcpStream>) -> String {
    let mut text = String::new();
    soon(answer.read_to_string(&mut text)).await.expect("an answer");
    text.split(' ').nth(1).expect("a status").to_owned()
}

/// The next event's data.
async fn event(stream: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        assert!(soon(stream.read_line(&mut line)).await.expect("the stream goes on") > 0, "it goes on");
        if let Some(data) = line.strip_prefix("data: ") {
            return data.trim().to_owned();
        }
    }
}

#[tokio::test]
async fn scores_are_live_by_server_sent_events_and_by_websocket() {
    let db = Database::with_extension();
    let program = env!("CARGO_BIN_EXE_live_scores");
    let ((mut here, one), (_there, other)) = (node(&db, program).await, node(&db, program).await);
    let mut events = ask(&one, "GET", "/players/ann/events", "").await;
    assert_eq!(event(&mut events).await, "null");
    let socket = tokio_tungstenite::connect_async(format!("ws://{other}/players/ann/socket"));
    let (mut socket, _) = soon(socket).await.expect("a websocket");
    let mut message =
        async || soon(socket.next()).await.expect("it goes on").expect("a message").into_text().expect("text");
    assert_eq!(message().await.as_str(), "null");
    // By the other node, which makes the row, and by SQL.
    assert_eq!(status(&mut ask(&other, "POST", "/players/ann/5", "").await).await, "200");
    while event(&mut events).await != r#"{"points":5}"# {}
    while message().await.as_str() != r#"{"points":5}"# {}
    let mut best = ask(&one, "GET", "/best/events", "").await;
    assert_eq!(event(&mut best).await, r#"[["ann",5]]"#);
    db.psql("UPDATE score SET points = 7; INSERT INTO score VALUES ('bob', 8)");
    while event(&mut best).await != r#"[["bob",8],["ann",7]]"# {}
    while event(&mut events).await != r#"{"points":7}"# {}
    while message().await.as_str() != r#"{"points":7}"# {}
    here.kill().await.expect("it ends");
}

/// What both nodes of the chat are told at once, by several people each.
async fn talk(nodes: &[String; 2], messages: usize) {
    let posts = (0..messages).flat_map(|number| {
        nodes.iter().enumerate().map(move |(at, node)| async move {
            let path = format!("/rooms/tea/messages/00000000-0000-0000-000{at}-{number:012}");
            let body = format!(r#"{{"author": "node {at}", "body": "message {number}"}}"#);
            assert_eq!(status(&mut ask(node, "POST", &path, &body).await).await, "201");
        })
    });
    join_all(posts).await;
}

#[tokio::test]
async fn a_chat_is_the_same_on_both_nodes_and_a_repeated_message_is_one() {
    let db = Database::with_extension();
    let program = env!("CARGO_BIN_EXE_chat");
    let ((_here, one), (_there, other)) = (node(&db, program).await, node(&db, program).await);
    let nodes = [one, other];
    let mut shown = Vec::new();
    for node in &nodes {
        let mut events = ask(node, "GET", "/rooms/tea/events", "").await;
        assert_eq!(event(&mut events).await, "[]");
        shown.push(events);
    }
    talk(&nodes, 20).await;
    // Repeated, to the other node; and one to another room.
    let repeated = "/rooms/tea/messages/00000000-0000-0000-0000-000000000007";
    let again = r#"{"author": "node 0", "body": "message 7"}"#;
    assert_eq!(status(&mut ask(&nodes[1], "POST", repeated, again).await).await, "200");
    let elsewhere = "/rooms/coffee/messages/00000000-0000-0000-0007-000000000007";
    assert_eq!(status(&mut ask(&nodes[1], "POST", elsewhere, again).await).await, "201");
    db.psql("INSERT INTO message VALUES (gen_random_uuid(), 'tea', 'psql', 'the last')");
    let stored = "SELECT json_agg(json_build_array(author, body) ORDER BY at DESC, id) FROM message WHERE room = 'tea'";
    let stored: serde_json::Value = serde_json::from_str(&db.psql(stored)).expect("a list");
    assert_eq!(stored.as_array().map(Vec::len), Some(41));
    for events in &mut shown {
        while serde_json::from_str::<serde_json::Value>(&event(events).await).expect("a list") != stored {}
    }
}

/// A node of live_scores at which somebody watches a row, and somebody adds to it who has to wait, since the row is locked.
struct Waiting {
    node: Child,
    address: String,
    lock: tokio_postgres::Client,
    watching: BufReader<TcpStream>,
    adding: BufReader<TcpStream>,
}

impl Waiting {
    async fn at(db: &Database<'_>) -> Waiting {
        let (node, address) = node(db, env!("CARGO_BIN_EXE_live_scores")).await;
        db.psql("INSERT INTO score VALUES ('ann', 1)");
        let mut watching = ask(&address, "GET", "/players/ann/events", "").await;
        assert_eq!(event(&mut watching).await, r#"{"points":1}"#);
        let lock = plain_sql(&db.dsn()).await.expect("a connection");
        lock.batch_execute("BEGIN; UPDATE score SET points = points + 10").await.expect("a lock");
        let adding = ask(&address, "POST", "/players/ann/5", "").await;
        until_waiting(db, 1).await;
        Waiting { node, address, lock, watching, adding }
    }

    /// As ctrl-c does; and it takes no more requests then.
    async fn interrupt(&self) {
        let id = self.node.id().expect("it runs").to_string();
        output(std::process::Command::new("kill").args(["-INT", &id]));
        wait_until(SOON, "nobody listens", async || TcpStream::connect(&self.address).await.is_err()).await;
    }
}

#[tokio::test]
async fn a_node_that_ends_answers_what_is_under_way_and_ends_the_streams() {
    let db = Database::with_extension();
    let mut at = Waiting::at(&db).await;
    at.interrupt().await;
    at.lock.batch_execute("COMMIT").await.expect("the lock is released");
    assert_eq!(status(&mut at.adding).await, "200");
    let mut rest = String::new();
    soon(at.watching.read_to_string(&mut rest)).await.expect("a stream");
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "it is ended, not cut off: {rest:?}");
    assert!(soon(at.node.wait()).await.expect("it ends").success());
    assert_eq!(db.psql("SELECT points FROM score"), "16");
}

#[tokio::test]
async fn a_node_that_ends_and_could_not_write_all_fails() {
    let db = Database::with_extension();
    let mut at = Waiting::at(&db).await;
    at.interrupt().await;
    assert!(!soon(at.node.wait()).await.expect("it ends").success());
}
