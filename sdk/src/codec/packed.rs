//! Documents as bytes: MessagePack, compressed where that makes them smaller.

use super::{fields, text};
use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Unexpected, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// What the first byte says: version 1, MessagePack as it is.
const PLAIN: u8 = 0x10;
/// Version 1, MessagePack in a zstd frame.
const ZSTD: u8 = 0x11;
/// What is smaller than this is not compressed.
const COMPRESSED_FROM: usize = 256;
const LEVEL: i32 = 3;
/// Nesting of lists and maps, as in a JSON document.
const DEPTH_MAX: usize = 127;
/// The most that a frame may make its reader remember, as a power of two.
const WINDOW_LOG_MAX: u32 = 26;

/// A member that is kept packed in a `bytea` column: as MessagePack, from 256 bytes on compressed by zstd where that makes it smaller.
///
/// For what only this program reads: Postgres cannot look into it, and changes replace all of it. It takes about half of the room that a
/// `jsonb` column takes, and large ones are loaded in half of the time (`cargo xtask bench packed`). The members of structs keep their names in it, so `#[serde(default)]` and `#[serde(alias)]` work as ever, and old
/// values are read by new types.
///
/// ```
/// use cache_sync::Packed;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Level {
///     title: String,
///     tiles: Packed<Vec<Vec<u16>>>,
/// }
/// ```
/// Its bytes are a version, `0x10`, and MessagePack, or `0x11` and a zstd frame of MessagePack. Other first bytes, and what takes more
/// than [`Packed::BYTES_MAX`] when it is unpacked or is nested more than 127 deep, are errors of the row; a value that would be is one of its writer.
///
/// Against the bytes that a cache may take (`max_bytes`) it counts as it is stored: what it unpacks to is bounded by [`Packed::BYTES_MAX`] alone.
///
/// Values that are equal should be written alike, else an `update` that leaves them as they are is a change: prefer `BTreeMap` to `HashMap`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packed<T>(pub T);

impl Packed<()> {
    /// How many bytes a value may take unpacked: 64 MiB.
    pub const BYTES_MAX: usize = 64 << 20;
}

impl<T> From<T> for Packed<T> {
    fn from(value: T) -> Packed<T> {
        Packed(value)
    }
}

impl<T> Deref for Packed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Packed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> Serialize for Packed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&pack(&self.0).map_err(S::Error::custom)?)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Packed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Packed<T>, D::Error> {
        deserializer.deserialize_bytes(Unpacking(PhantomData)).map(Packed)
    }
}

struct Unpacking<T>(PhantomData<fn() -> T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Unpacking<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a packed value, which is bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<T, E> {
        unpack(bytes).map_err(E::custom)
    }

    /// The form of bytes among members that are flattened.
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        let bytes = text::unhex(text).ok_or_else(|| E::invalid_type(Unexpected::Str(text), &self))?;
        self.visit_bytes(&bytes)
    }

    /// The form of bytes in a JSON document.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<T, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = list.next_element()? {
            bytes.push(byte);
        }
        self.visit_bytes(&bytes)
    }
}

/// Why a value cannot be packed or unpacked.
#[derive(Debug, thiserror::Error)]
enum PackError {
    #[error("it cannot be packed: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("it cannot be compressed: {0}")]
    Compress(std::io::Error),
    #[error("a packed value takes {max} bytes unpacked at most", max = Packed::BYTES_MAX)]
    TooLarge,
    #[error("these bytes are no packed value: there are none")]
    Empty,
    #[error("these bytes are no packed value that this version reads: the first one is {0:#04x}")]
    Version(u8),
    #[error("the packed value cannot be decompressed: {0}")]
    Decompress(std::io::Error),
    #[error("these bytes are no packed value: something follows it")]
    Longer,
    #[error("the packed value does not fit: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
}

fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, PackError> {
    let mut plain = vec![PLAIN];
    // As people read it: what serde reads by way of its own buffers, as tagged enums and flattened members, is taken for that.
    let mut serializer = rmp_serde::Serializer::new(&mut plain).with_struct_map().with_human_readable();
    fields::of_bounded_depth(value).serialize(&mut serializer)?;
    let unpacked = &plain[1..];
    if unpacked.len() > Packed::BYTES_MAX {
        return Err(PackError::TooLarge);
    }
    // What is written must be read again.
    decoded::<IgnoredAny>(unpacked)?;
    if unpacked.len() >= COMPRESSED_FROM {
        let frame = zstd::bulk::compress(unpacked, LEVEL).map_err(PackError::Compress)?;
        if frame.len() < unpacked.len() {
            return Ok([&[ZSTD], &frame[..]].concat());
        }
    }
    Ok(plain)
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PackError> {
    match bytes.split_first() {
        None => Err(PackError::Empty),
        Some((&PLAIN, unpacked)) if unpacked.len() > Packed::BYTES_MAX => Err(PackError::TooLarge),
        Some((&PLAIN, unpacked)) => decoded(unpacked),
        Some((&ZSTD, frame)) => decoded(&decompressed(frame)?),
        Some((version, _)) => Err(PackError::Version(*version)),
    }
}

fn decoded<T: DeserializeOwned>(mut unpacked: &[u8]) -> Result<T, PackError> {
    let mut deserializer = rmp_serde::Deserializer::new(&mut unpacked).with_human_readable();
    // The last one that it counts is one too many.
    deserializer.set_max_depth(DEPTH_MAX + 1);
    let value = T::deserialize(&mut deserializer)?;
    // What comes after it belongs to nobody.
    if unpacked.is_empty() { Ok(value) } else { Err(PackError::Longer) }
}

/// Memory grows with what has come, whatever the frame says it will be.
fn decompressed(frame: &[u8]) -> Result<Vec<u8>, PackError> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame).map_err(PackError::Decompress)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(PackError::Decompress)?;
    let mut out = Vec::with_capacity(4 * frame.len().min(Packed::BYTES_MAX / 4));
    decoder.take(Packed::BYTES_MAX as u64 + 1).read_to_end(&mut out).map_err(PackError::Decompress)?;
    if out.len() > Packed::BYTES_MAX { Err(PackError::TooLarge) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Document {
        #[serde(alias = "name")]
        title: String,
        #[serde(default)]
        tags: BTreeMap<String, Option<f64>>,
        id: uuid::Uuid,
    }

    fn document(words: usize) -> Document {
        let tags = (0..words).map(|word| (format!("word {word}"), (word % 2 == 0).then_some(0.5))).collect();
        Document { title: "ü🦀".repeat(words), tags, id: uuid::Uuid::max() }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        for (words, version) in [(0, PLAIN), (1, PLAIN), (1000, ZSTD)] {
            let packed = pack(&document(words)).unwrap();
            assert_eq!(packed[0], version, "{words}");
            assert_eq!(unpack::<Document>(&packed).unwrap(), document(words));
            assert_eq!(packed, pack(&document(words)).unwrap());
        }
        assert!(pack(&document(1000)).unwrap().len() < serde_json::to_vec(&document(1000)).unwrap().len() / 4);
        // What is random does not become larger.
        let random: Vec<u8> = (0..100).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
        let packed = pack(&Bytes(random.clone())).unwrap();
        assert_eq!((packed[0], packed.len()), (PLAIN, 1 + 3 + random.len()));
    }

    struct Bytes(Vec<u8>);

    impl Serialize for Bytes {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }

    #[test]
    fn types_may_change() {
        #[derive(Serialize)]
        struct Before {
            name: &'static str,
            gone: u8,
            id: uuid::Uuid,
        }
        let before = pack(&Before { name: "a", gone: 1, id: uuid::Uuid::nil() }).unwrap();
        let after = unpack::<Document>(&before).unwrap();
        assert_eq!((after.title.as_str(), after.tags.len()), ("a", 0));
    }

    #[test]
    fn a_bomb_is_refused() {
        let frame = zstd::bulk::compress(&vec![0; Packed::BYTES_MAX + 1], LEVEL).unwrap();
        assert!(frame.len() < 10_000);
        let error = unpack::<Vec<u8>>(&[&[ZSTD], &frame[..]].concat()).unwrap_err().to_string();
        assert_eq!(error, "a packed value takes 67108864 bytes unpacked at most");
        // One that says it needs a window of 2 GiB.
        let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        let error = unpack::<Vec<u8>>(&[&[ZSTD], &window[..]].concat()).unwrap_err().to_string();
        assert!(error.contains("cannot be decompressed"), "{error}");
        // A list that says it has four thousand million elements, and lists in lists.
        assert!(unpack::<Vec<u64>>(&[PLAIN, 0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
        let deep = [&[PLAIN], &[0x91; 100_000][..]].concat();
        assert!(unpack::<serde_json::Value>(&deep).is_err());
        assert!(matches!(pack(&"a".repeat(Packed::BYTES_MAX)), Err(PackError::TooLarge)));
    }

    #[test]
    fn what_is_nested_too_deeply_is_not_written() {
        let nested = |depth| (1..depth).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
        let deep = nested(DEPTH_MAX);
        assert_eq!(unpack::<serde_json::Value>(&pack(&deep).unwrap()).unwrap(), deep);
        for depth in [DEPTH_MAX + 1, 400, 600] {
            assert!(pack(&nested(depth)).is_err(), "{depth}");
        }
    }

    /// serde reads what has a tag by way of buffers of its own, which take addresses for texts.
    #[test]
    fn what_is_tagged_is_read_again() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        enum Event {
            Login { from: std::net::IpAddr, id: uuid::Uuid },
        }
        let event = Event::Login { from: [10, 0, 0, 1].into(), id: uuid::Uuid::max() };
        assert_eq!(unpack::<Event>(&pack(&event).unwrap()).unwrap(), event);
    }

    #[test]
    fn it_may_lie_in_a_document_or_be_flattened() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Level {
            tiles: Packed<Vec<u16>>,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct Outer {
            #[serde(flatten)]
            level: Level,
        }
        let level = Level { tiles: Packed(vec![1, 2, 3]) };
        assert_eq!(serde_json::from_value::<Level>(serde_json::to_value(&level).unwrap()).unwrap(), level);
        let text = serde_json::json!({"tiles": text::hex(&pack(&level.tiles.0).unwrap())});
        assert_eq!(serde_json::from_value::<Outer>(text).unwrap(), Outer { level });
        assert!(serde_json::from_value::<Level>(serde_json::json!({"tiles": "no bytes"})).is_err());
    }

    #[test]
    fn what_is_none_says_so() {
        let error = |bytes: &[u8]| unpack::<Document>(bytes).unwrap_err().to_string();
        assert!(error(&[]).contains("there are none"));
        assert!(error(&[0x20, 1]).contains("the first one is 0x20"));
        assert!(error(&[PLAIN]).contains("does not fit"));
        assert!(error(&[ZSTD, 1, 2]).contains("cannot be decompressed"));
        let whole = pack(&document(1000)).unwrap();
        assert!(error(&whole[..whole.len() / 2]).contains("cannot be decompressed"));
    }
}
