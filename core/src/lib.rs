//! What the SDK and the extension of cache_sync must agree on, and nothing else: no I/O, no async, no wall clock.
//!
//! ```text
//! number    the newtypes that must not mix (Version, Stamp, Position, ...)
//! hlc       the hybrid logical clock that hands out versions and stamps
//! key       the canonical form of a key, and its keyed hash
//! rule      how a field merges
//! decimal   JSON numbers                json    finds members and elements in JSON texts
//! list      lists and sets              value   what the rules do to one value
//! paths     when a document's paths were written     document   merges documents
//! merge     what the rules do to values of whatever kind
//! clock     the stamps of one row, as stored in its column `cs_clock`
//! fields    values by field             patch   the pending change of one key, and how two of them coalesce
//! outcome   what became of a patch, as `cache_sync.apply` packs it
//! wire      the feed's messages
//! ```
//! Imports run upwards in that list only.
#![forbid(unsafe_code)]

pub mod clock;
pub mod decimal;
pub mod document;
pub mod fields;
pub mod hlc;
pub mod json;
pub mod key;
mod list;
pub mod merge;
pub mod number;
pub mod outcome;
pub mod patch;
pub mod paths;
pub mod rule;
mod value;
pub mod wire;

/// The version of everything that crosses between SDK, SQL script and library: feed messages, `apply`, `describe`.
/// All three compare it when an SDK connects; it rises when any of them changes incompatibly.
pub const PROTOCOL: i32 = 3;
