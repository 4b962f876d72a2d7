//! From where on a feed is asked for.

use crate::ring;

/// What a client says of where it had got to.
#[derive(Clone, Copy)]
pub(super) struct Since {
    /// The epoch, with the bits of one.
    pub(super) epoch: Option<i64>,
    /// The position, with the bits of one.
    pub(super) position: Option<i64>,
}

/// The position, if the ring still holds everything from there on; else, as an error, where it ends now.
pub(super) fn held(position: i64) -> Result<u64, u64> {
    let (tail, head) = (ring::tail(), ring::head());
    let position = position as u64;
    if (tail..=head).contains(&position) { Ok(position) } else { Err(head) }
}
