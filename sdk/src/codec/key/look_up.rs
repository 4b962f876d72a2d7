//! What a key may be looked up by: itself, or what it borrows as.

use super::{Key, KeyPart, KeyVisitor};
use cache_sync_core::key::{ByAndBy, HashKey, KeyHasher};
use cache_sync_core::number::KeyHash;
use std::borrow::Cow;
use std::sync::Arc;

/// A key that can be looked up by a `Q`. Every key can by itself, those of text by a `&str`, those of bytes by a `&[u8]`:
///
/// ```
/// # use cache_sync::{Cache, Error};
/// # async fn read(pages: &Cache<String, serde_json::Value>) -> Result<(), Error> {
/// let home = pages.get("/home").await?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(message = "a key `{Self}` cannot be looked up by a `{Q}`")]
pub trait LookUp<Q: ?Sized>: Key {
    /// Shows the visitor the columns of the key that is meant.
    fn parts_of<V: KeyVisitor>(by: &Q, visitor: &mut V);

    /// Whether this is the key that is meant.
    fn is(&self, by: &Q) -> bool;

    /// The key that is meant.
    fn key(by: &Q) -> Cow<'_, Self>;
}

impl<K: Key> LookUp<K> for K {
    #[inline]
    fn parts_of<V: KeyVisitor>(by: &K, visitor: &mut V) {
        by.parts(visitor);
    }

    #[inline]
    fn is(&self, by: &K) -> bool {
        self == by
    }

    fn key(by: &K) -> Cow<'_, K> {
        Cow::Borrowed(by)
    }
}

macro_rules! borrowed {
    ($($key:ty: $by:ty as $part:path;)*) => {$(
        impl LookUp<$by> for $key {
            #[inline]
            fn parts_of<V: KeyVisitor>(by: &$by, visitor: &mut V) {
                visitor.part($part(by));
            }

            #[inline]
            fn is(&self, by: &$by) -> bool {
                **self == *by
            }

            fn key(by: &$by) -> Cow<'_, $key> {
                Cow::Owned(by.into())
            }
        }
    )*};
}

borrowed! {
    String: str as KeyPart::Text;
    Box<str>: str as KeyPart::Text;
    Arc<str>: str as KeyPart::Text;
    Vec<u8>: [u8] as KeyPart::Bytes;
    Box<[u8]>: [u8] as KeyPart::Bytes;
    Arc<[u8]>: [u8] as KeyPart::Bytes;
}

/// The hash of the key that is looked up by this, as the database makes it too.
#[inline]
pub(crate) fn key_hash<K: LookUp<Q>, Q: ?Sized>(hash_key: &HashKey, by: &Q) -> KeyHash {
    struct Hashing(KeyHasher<ByAndBy>);

    impl KeyVisitor for Hashing {
        #[inline]
        fn part(&mut self, part: KeyPart<'_>) {
            self.0.part(part);
        }
    }

    let mut hashing = Hashing(KeyHasher::by_and_by(hash_key));
    K::parts_of(by, &mut hashing);
    hashing.0.finish()
}
