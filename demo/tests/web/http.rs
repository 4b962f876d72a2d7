//! Requests over HTTP/1.1, as little of it as tests need.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cache_sync_kit::Result;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The lines above the body.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Asks the server on a port of this machine, on a connection of its own.
pub(crate) fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    let mut stream = begin(port, method, path, headers, body)?;
    let mut text = Vec::new();
    let mut part = [0; 65536];
    // Not all servers close the connection, though they are asked to.
    while !is_whole(&text) {
        match stream.read(&mut part)? {
            0 => break,
            bytes => text.extend_from_slice(&part[..bytes]),
        }
    }
    let text = String::from_utf8(text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("the answer has no end of its head")?;
    let status = head.split(' ').nth(1).ok_or("the answer has no status")?.parse()?;
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Sends a request; the answer is still to be read.
pub(crate) fn begin(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n");
    if headers.iter().all(|(name, _)| *name != "Host") {
        request.push_str(&format!("Host: 127.0.0.1:{port}\r\n"));
    }
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

fn is_whole(text: &[u8]) -> bool {
    let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| text.len() >= end + 4 + length)
}
