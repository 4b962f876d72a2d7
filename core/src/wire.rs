//! The feed's messages.
//!
//! A message travels as the payload of a NotificationResponse on the channel `cache_sync`: base64 (standard alphabet,
//! no padding) of, big-endian:
//!
//! ```text
//! 1  PROTOCOL      1  kind: S start, C changes, H heartbeat, G gap
//! 8  epoch         8  position: everything up to it has been told       8  hlc
//! 8  lsn: where in the log the last of the commits ends that were told
//! 8  sent: when the message was made        8  as_of: what was committed before has been told; 0 where that is not known
//! S: 1  whether the feed resumed where the client asked (1) or must be taken for a gap (0)
//! C: per change    4 table   8 key hash   8 version   1 kind (0 versioned, 1 unversioned, 2 flush table, 3 tag)
//! ```

use crate::number::{Epoch, HostTime, KeyHash, Lsn, Position, Stamp, TableId, Version};
use crate::protocol::PROTOCOL;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// The channel of the NotificationResponses.
pub const CHANNEL: &str = "cache_sync";

const HEADER_LEN: usize = 50;
const CHANGE_LEN: usize = 21;

/// What a change does to an entry that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    /// An UPDATE of a row that stayed where it was: an entry of this version or a later one need not be dropped.
    Versioned = 0,
    /// Anything else. It always drops; its version only serves to recognise one's own writes.
    Unversioned = 1,
    /// Too much to list: everything of this table is to be taken for changed.
    FlushTable = 2,
    /// A row with this value in one of the table's tags was there before or is there now: the hash is not that of a key but of
    /// the tag and its value.
    Tag = 3,
}

/// One change of one key (or of a whole table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The table that changed.
    pub table: TableId,
    /// The hash of the key, or of the tag; 0 when the whole table is meant.
    pub key: KeyHash,
    /// The row's version after the change, or 0.
    pub version: Version,
    /// What it does to an entry.
    pub kind: ChangeKind,
}

impl Change {
    /// The same change without a version that could be believed.
    #[must_use]
    pub fn unversioned(self) -> Change {
        let kind = if self.kind == ChangeKind::Versioned { ChangeKind::Unversioned } else { self.kind };
        Change { version: Version::NONE, kind, ..self }
    }
}

/// What a message says beside where the feed stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The subscription begins. Not resumed means that changes before it may have been missed.
    Start {
        /// Whether every change since the position asked for will follow.
        resumed: bool,
    },
    /// Committed changes, in ring order.
    Changes(Vec<Change>),
    /// Nothing new; the feed is alive.
    Heartbeat,
    /// Changes were overwritten before they could be sent.
    Gap,
}

/// A message of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which memory the positions count in.
    pub epoch: Epoch,
    /// Everything up to here has been told, with this message.
    pub position: Position,
    /// The server's hybrid logical clock when it was sent.
    pub hlc: Stamp,
    /// A standby that has replayed the log up to here shows everything that was told; 0 where that is not known.
    pub lsn: Lsn,
    /// When it was made.
    pub sent: HostTime,
    /// Everything that was committed before this has been told, with this message and those before it. `None` while what was
    /// missed before the subscription is being told.
    pub as_of: Option<HostTime>,
    /// What it says.
    pub body: Body,
}

/// A payload that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not base64, cut off, or of an unknown kind.
    #[error("the feed sent bytes that are no message")]
    Malformed,
    /// The library on the server speaks another protocol.
    #[error("the feed speaks protocol {0}, this side speaks {PROTOCOL}")]
    Protocol(i32),
}

impl Message {
    /// The payload.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(HEADER_LEN + 1);
        let kind = match self.body {
            Body::Start { .. } => b'S',
            Body::Changes(_) => b'C',
            Body::Heartbeat => b'H',
            Body::Gap => b'G',
        };
        bytes.extend_from_slice(&[PROTOCOL as u8, kind]);
        bytes.extend_from_slice(&self.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&self.position.0.to_be_bytes());
        bytes.extend_from_slice(&self.hlc.0.to_be_bytes());
        bytes.extend_from_slice(&self.lsn.0.to_be_bytes());
        bytes.extend_from_slice(&self.sent.0.to_be_bytes());
        bytes.extend_from_slice(&self.as_of.map_or(0, |as_of| as_of.0).to_be_bytes());
        match &self.body {
            Body::Start { resumed } => bytes.push(u8::from(*resumed)),
            Body::Changes(changes) => changes.iter().for_each(|change| push_change(&mut bytes, change)),
            Body::Heartbeat | Body::Gap => {}
        }
        STANDARD_NO_PAD.encode(bytes)
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`WireError`] when it is no message, or one of another protocol.
    pub fn decode(payload: &str) -> Result<Message, WireError> {
        let bytes = STANDARD_NO_PAD.decode(payload).map_err(|_| WireError::Malformed)?;
        match bytes.first() {
            Some(protocol) if i32::from(*protocol) != PROTOCOL => {
                return Err(WireError::Protocol(i32::from(*protocol)));
            }
            Some(_) if bytes.len() >= HEADER_LEN => {}
            _ => return Err(WireError::Malformed),
        }
        let rest = &bytes[HEADER_LEN..];
        let body = match (bytes[1], rest) {
            (b'S', [resumed @ (0 | 1)]) => Body::Start { resumed: *resumed == 1 },
            (b'C', _) => Body::Changes(read_changes(rest)?),
            (b'H', []) => Body::Heartbeat,
            (b'G', []) => Body::Gap,
            _ => return Err(WireError::Malformed),
        };
        Ok(Message {
            epoch: Epoch(be_u64(&bytes[2..])),
            position: Position(be_u64(&bytes[10..])),
            hlc: Stamp(be_u64(&bytes[18..]) as i64),
            lsn: Lsn(be_u64(&bytes[26..])),
            sent: HostTime(be_u64(&bytes[34..]) as i64),
            as_of: Some(HostTime(be_u64(&bytes[42..]) as i64)).filter(|as_of| as_of.0 != 0),
            body,
        })
    }
}

fn push_change(bytes: &mut Vec<u8>, change: &Change) {
    bytes.extend_from_slice(&change.table.0.to_be_bytes());
    bytes.extend_from_slice(&change.key.0.to_be_bytes());
    bytes.extend_from_slice(&change.version.0.to_be_bytes());
    bytes.push(change.kind as u8);
}

fn read_changes(bytes: &[u8]) -> Result<Vec<Change>, WireError> {
    if !bytes.len().is_multiple_of(CHANGE_LEN) {
        return Err(WireError::Malformed);
    }
    bytes
        .chunks_exact(CHANGE_LEN)
        .map(|chunk| {
            let kind = match chunk[20] {
                0 => ChangeKind::Versioned,
                1 => ChangeKind::Unversioned,
                2 => ChangeKind::FlushTable,
                3 => ChangeKind::Tag,
                _ => return Err(WireError::Malformed),
            };
            let table = TableId(i32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
            Ok(Change { table, key: KeyHash(be_u64(&chunk[4..])), version: Version(be_u64(&chunk[12..]) as i64), kind })
        })
        .collect()
}

fn be_u64(bytes: &[u8]) -> u64 {
    let mut array = [0; 8];
    array.copy_from_slice(&bytes[..8]);
    u64::from_be_bytes(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: Body) -> Message {
        let (sent, as_of) = (HostTime(6), Some(HostTime(5)));
        Message { epoch: Epoch(1), position: Position(2), hlc: Stamp(3), lsn: Lsn(4), sent, as_of, body }
    }

    #[test]
    fn every_kind_survives_the_way() {
        let change =
            Change { table: TableId(7), key: KeyHash(u64::MAX), version: Version(9), kind: ChangeKind::Unversioned };
        for body in [
            Body::Start { resumed: true },
            Body::Start { resumed: false },
            Body::Changes(vec![change, Change { kind: ChangeKind::FlushTable, ..change }]),
            Body::Changes(vec![
                Change { kind: ChangeKind::Tag, ..change },
                Change { kind: ChangeKind::Versioned, ..change },
            ]),
            Body::Changes(vec![]),
            Body::Heartbeat,
            Body::Gap,
        ] {
            let sent = message(body);
            assert_eq!(Message::decode(&sent.encode()), Ok(sent.clone()));
            let unknown = Message { as_of: None, ..sent };
            assert_eq!(Message::decode(&unknown.encode()), Ok(unknown));
        }
    }

    #[test]
    fn a_heartbeat_looks_like_this() {
        assert_eq!(
            message(Body::Heartbeat).encode(),
            "A0gAAAAAAAAAAQAAAAAAAAACAAAAAAAAAAMAAAAAAAAABAAAAAAAAAAGAAAAAAAAAAU"
        );
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_refused() {
        let change = Change { table: TableId(7), key: KeyHash(1), version: Version(9), kind: ChangeKind::Versioned };
        let whole = message(Body::Changes(vec![change])).encode();
        for end in 0..whole.len() {
            if let Ok(read) = Message::decode(&whole[..end]) {
                assert_eq!(read.body, Body::Changes(vec![]), "cut at {end}");
            }
        }
        let foreign = STANDARD_NO_PAD.encode([9, b'H']);
        assert_eq!(Message::decode(&foreign), Err(WireError::Protocol(9)));
    }
}
