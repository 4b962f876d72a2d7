//! Changes out.

mod changes;
mod look;
mod notify;
pub(crate) mod pending;
mod stream;
mod subscription;
mod trigger;
