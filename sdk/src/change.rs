//! The walk of one change: heard of the feed, told to whom it concerns, applied to what is held.
//!
//! ```text
//! feed     one task, one connection: hears what was committed, and tells the subscribers
//! apply    what a cache does with it
//! ```
//! pg -> feed -> apply -> entries

mod apply;
mod feed;

pub(crate) use feed::{Feed, Part, Subscriber};
