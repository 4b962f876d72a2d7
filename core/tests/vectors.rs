//! The test vectors of docs/feed.md are what is sent and hashed.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

use cache_sync_core::key::{HashKey, KeyHasher, KeyPart};
use cache_sync_core::number::{Epoch, HostTime, KeyHash, Lsn, Position, Stamp, TableId, Version};
use cache_sync_core::wire::{Body, Change, ChangeKind, Message};

const DOCUMENT: &str = include_str!("../../docs/feed.md");

/// What each line of a block of vectors says, with the line that follows it.
fn vectors(first_word: &str) -> Vec<(&'static str, &'static str)> {
    let block = DOCUMENT.split("```text\n").find(|block| block.starts_with(first_word)).unwrap();
    let lines: Vec<_> = block.split("```").next().unwrap().lines().collect();
    assert!(lines.len() >= 10 && lines.len().is_multiple_of(2), "{lines:?}");
    lines.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

fn message(words: &str) -> Message {
    let words: Vec<_> = words.split(' ').collect();
    let named = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap();
    let change = |word: &&str| {
        let numbers: Vec<u64> = word.split(':').map(|number| number.parse().unwrap()).collect();
        let [table, key, version, kind] = numbers[..] else { panic!("{word}") };
        let kinds = [ChangeKind::Versioned, ChangeKind::Unversioned, ChangeKind::FlushTable, ChangeKind::Tag];
        Change {
            table: TableId(table as i32),
            key: KeyHash(key),
            version: Version(version as i64),
            kind: kinds[kind as usize],
        }
    };
    Message {
        epoch: Epoch(named("epoch").parse().unwrap()),
        position: Position(named("position").parse().unwrap()),
        hlc: Stamp(named("hlc").parse().unwrap()),
        lsn: Lsn(named("lsn").parse().unwrap()),
        sent: HostTime(named("sent").parse().unwrap()),
        as_of: Some(HostTime(named("as_of").parse().unwrap())).filter(|as_of| as_of.0 != 0),
        body: match words[0] {
            "S" => Body::Start { resumed: named("resumed") == "1" },
            "H" => Body::Heartbeat,
            "G" => Body::Gap,
            "C" => Body::Changes(words.iter().filter(|word| word.contains(':')).map(change).collect()),
            other => panic!("{other}"),
        },
    }
}

#[test]
fn messages() {
    for (words, payload) in vectors("S ") {
        let message = message(words);
        assert_eq!(message.encode(), payload, "{words}");
        assert_eq!(Message::decode(payload), Ok(message), "{words}");
    }
}

fn bytes(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn hashes() {
    for (words, hash) in vectors("key=") {
        let mut words_left = words.split(' ').map(|word| word.split_once('=').unwrap_or((word, "")));
        let (_, key) = words_left.next().unwrap();
        let mut hasher = KeyHasher::new(&HashKey(bytes(key).try_into().unwrap()));
        for (kind, value) in words_left {
            hasher.part(match kind {
                "int" => KeyPart::Int(value.parse().unwrap()),
                "text" => KeyPart::Text(value),
                "bool" => KeyPart::Bool(value == "1"),
                "date" => KeyPart::Date(value.parse().unwrap()),
                "timestamp" => KeyPart::Timestamp(value.parse().unwrap()),
                "bytes" => {
                    hasher.part(KeyPart::Bytes(&bytes(value)));
                    continue;
                }
                "null" => {
                    hasher.null();
                    continue;
                }
                "row" => {
                    hasher.row(value.parse().unwrap());
                    continue;
                }
                other => panic!("{other}"),
            });
        }
        assert_eq!((hasher.finish().0 as i64).to_string(), hash, "{words}");
    }
}
