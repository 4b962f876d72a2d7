//! Which server this is, and which epoch: what both walks, patches in and changes out, tell their clients beside their own.
//!
//! ```text
//! state   what SQL asks of the server     epoch   the feed's identity
//! ```
//! `state` calls `epoch`; so do `apply` and `feed`, whose answers carry it.

pub(crate) mod epoch;
mod state;
