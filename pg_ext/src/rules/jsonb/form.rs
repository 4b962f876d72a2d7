//! The form: a container begins with a word of flags and the number of members; a word for each key and each value follows, in the
//! order of the keys (by length, then by bytes): its kind, and its length or, in every 32nd, where it ends. Then come the bytes, those
//! of numbers and containers at multiples of 4. Postgres 15 to 18 agree in this.

pub(super) const COUNT: u32 = 0x0fff_ffff;
pub(super) const IS_OBJECT: u32 = 0x2000_0000;
pub(super) const IS_LIST: u32 = 0x4000_0000;
/// A list that stands for its only element.
pub(super) const IS_SCALAR: u32 = 0x1000_0000;
pub(super) const LENGTH: u32 = 0x0fff_ffff;
pub(super) const KIND: u32 = 0x7000_0000;
pub(super) const IS_END: u32 = 0x8000_0000;
pub(super) const NUMBER: u32 = 0x1000_0000;
pub(super) const FALSE: u32 = 0x2000_0000;
pub(super) const TRUE: u32 = 0x3000_0000;
pub(super) const NULL: u32 = 0x4000_0000;
pub(super) const CONTAINER: u32 = 0x5000_0000;
pub(super) const STRIDE: usize = 32;
pub(super) const WORD: usize = size_of::<u32>();

/// A key or value, with its kind.
pub(super) type Piece<'a> = (u32, &'a [u8]);

/// So many values of a container, each with its kind; `None` for what does not look like one.
pub(super) fn pieces(container: &[u8], count: usize) -> Option<impl Iterator<Item = Option<Piece<'_>>>> {
    let (heads, data) = container.get(WORD..)?.split_at_checked(count * WORD)?;
    let mut start = 0;
    Some(heads.as_chunks::<WORD>().0.iter().map(move |entry| {
        let entry = u32::from_ne_bytes(*entry);
        let length = (entry & LENGTH) as usize;
        let end = if entry & IS_END == 0 { start + length } else { length };
        let kind = entry & KIND;
        let from = if matches!(kind, NUMBER | CONTAINER) { start.next_multiple_of(WORD) } else { start };
        start = end;
        Some((kind, data.get(from..end)?))
    }))
}

/// Where a container that is being written begins, and its data.
pub(super) struct Head {
    pub(super) start: usize,
    pub(super) data: usize,
}

impl Head {
    /// Notes the value that was written last, from `from` on; `None` when the container gets too large.
    pub(super) fn note(&self, bytes: &mut [u8], place: usize, kind: u32, from: usize) -> Option<()> {
        let (end, length) = (bytes.len() - self.data, bytes.len() - from);
        let entry = kind | if place.is_multiple_of(STRIDE) { IS_END | end as u32 } else { length as u32 };
        let at = self.start + (1 + place) * WORD;
        bytes[at..at + WORD].copy_from_slice(&entry.to_ne_bytes());
        (end as u32 <= LENGTH).then_some(())
    }
}

/// Writes a word.
pub(super) fn push(bytes: &mut Vec<u8>, word: u32) {
    bytes.extend_from_slice(&word.to_ne_bytes());
}

/// A container lies at a multiple of 4 itself.
pub(super) fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(WORD), 0);
}
