//! The version of everything that crosses between SDK, SQL script and library.

/// The version of everything that crosses between SDK, SQL script and library: feed messages, `apply`, `describe`.
/// All three compare it when an SDK connects; it rises when any of them changes incompatibly.
pub const PROTOCOL: i32 = 3;
