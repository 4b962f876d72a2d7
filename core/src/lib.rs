//! What the SDK and the extension of cache_sync must agree on, and nothing else: no I/O, no async, no wall clock.

// The plan. A room imports only rooms on floors below its own; `cargo xtask house` draws it, and a test holds it against the code.
//
// floor 7: patch      the pending change of one key, and how two of them coalesce
// floor 6: merge      what the rules do to values of whatever kind
// floor 5: document   merges documents
// floor 4: value      what the rules do to one value
// floor 3: list       lists and sets
// floor 3: clock      the stamps of one row, as stored in its column `cs_clock`
// floor 2: json       finds members and elements in JSON texts
// floor 2: paths      when a document's paths were written
// floor 2: hlc        the hybrid logical clock that hands out versions and stamps
// floor 2: key        the canonical form of a key, and its keyed hash
// floor 2: outcome    what became of a patch, as `cache_sync.apply` packs it
// floor 2: wire       the feed's messages
// floor 1: number     the newtypes that must not mix (Version, Stamp, Position, ...)
// floor 1: decimal    JSON numbers
// floor 1: iso        dates and times whose texts have their order
// floor 1: fields     values by field
// floor 1: rule       how a field merges
// floor 1: sqlstate   whose fault an error is
// floor 1: protocol   the version of everything that crosses

#![forbid(unsafe_code)]

pub mod clock;
pub mod decimal;
pub mod document;
pub mod fields;
pub mod hlc;
mod iso;
pub mod json;
pub mod key;
mod list;
pub mod merge;
pub mod number;
pub mod outcome;
pub mod patch;
pub mod paths;
mod protocol;
pub mod rule;
pub mod sqlstate;
mod value;
pub mod wire;

pub use protocol::PROTOCOL;
