//! The live example: what SQL and another node do reaches those who look, by server-sent events and by a websocket.

use cache_sync_tests::{Database, SOON};
use futures_util::StreamExt;
use std::future::Future;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A node of it, and where it listens.
async fn node(db: &Database<'_>) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_live_scores"));
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

async fn ask(address: &str, method: &str, path: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    BufReader::new(stream)
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
    let ((mut here, one), (_there, other)) = (node(&db).await, node(&db).await);
    let mut events = ask(&one, "GET", "/players/ann/events").await;
    assert_eq!(event(&mut events).await, "null");
    let socket = tokio_tungstenite::connect_async(format!("ws://{other}/players/ann/socket"));
    let (mut socket, _) = soon(socket).await.expect("a websocket");
    let mut message =
        async || soon(socket.next()).await.expect("it goes on").expect("a message").into_text().expect("text");
    assert_eq!(message().await.as_str(), "null");
    // By the other node, which makes the row, and by SQL.
    let mut answer = String::new();
    ask(&other, "POST", "/players/ann/5").await.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    while event(&mut events).await != r#"{"points":5}"# {}
    while message().await.as_str() != r#"{"points":5}"# {}
    let mut best = ask(&one, "GET", "/best/events").await;
    assert_eq!(event(&mut best).await, r#"[["ann",5]]"#);
    db.psql("UPDATE score SET points = 7; INSERT INTO score VALUES ('bob', 8)");
    while event(&mut best).await != r#"[["bob",8],["ann",7]]"# {}
    while event(&mut events).await != r#"{"points":7}"# {}
    while message().await.as_str() != r#"{"points":7}"# {}
    here.kill().await.expect("it ends");
}
