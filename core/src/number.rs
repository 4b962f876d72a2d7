//! Newtypes for the numbers that must not mix.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The number of a row's state, from `cs_version`; rises with every UPDATE of the row. 0 stands for none.
    Version(i64)
}
number! {
    /// When a write was made, in hybrid-logical-clock microseconds since the Unix epoch.
    Stamp(i64)
}
number! {
    /// A place in the feed: how many changes the ring had taken, counted from its start.
    Position(u64)
}
number! {
    /// A place in the server's write-ahead log, in bytes.
    Lsn(u64)
}
number! {
    /// What the clock of the server's host shows, in microseconds since the host was booted; it goes on while the host is suspended.
    HostTime(i64)
}
number! {
    /// The identity of the feed's memory: another epoch means that changes may have been lost.
    Epoch(u64)
}
number! {
    /// The keyed hash of a key's canonical form.
    KeyHash(u64)
}
number! {
    /// The number of a batch in its session; the first batch is 1.
    Sequence(i64)
}
number! {
    /// The number under which a table is attached; survives dump and restore.
    TableId(i32)
}
number! {
    /// The number of a field within its attached table; survives renames, is never used again.
    FieldId(i16)
}
number! {
    /// Proof that a client owns its session; opening a session again makes older fences worthless.
    Fence(i64)
}

impl Version {
    /// No version: a plain table's row, or a null `cs_version`.
    pub const NONE: Version = Version(0);
}
