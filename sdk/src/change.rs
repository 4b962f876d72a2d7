//! The walk of one change: heard of the feed, told to whom it concerns, applied to what is held.
//!
//! ```text
//! feed      one task, one connection: hears what was committed, and tells the subscribers
//! apply     what a cache does with it
//! listener  what callers do with it
//! ```
//! pg -> feed -> apply -> entries

mod apply;
mod feed;
mod listener;

pub(crate) use feed::{Feed, Part, Subscriber};
pub use listener::Change;
pub(crate) use listener::{Listener, Pending};
