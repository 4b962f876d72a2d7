//! Lists, and values that stand alone.

use super::form::{CONTAINER, COUNT, Head, IS_LIST, NUMBER, WORD, align, pieces, push};

/// The string in the container of a value that is one.
pub(crate) fn scalar_string(container: &[u8]) -> Option<&[u8]> {
    match pieces(container, 1)?.next()?? {
        (0, string) => Some(string),
        _ => None,
    }
}

/// How many elements a list has; `None` for what is no list.
pub(crate) fn list_len(container: &[u8]) -> Option<usize> {
    let header = u32::from_ne_bytes(*container.first_chunk()?);
    (header & !COUNT == IS_LIST).then_some((header & COUNT) as usize)
}

/// The last elements of a list, as a container; `None` for what is no list.
pub(crate) fn last_of(container: &[u8], cap: usize) -> Option<Vec<u8>> {
    let count = list_len(container)?;
    let last: Vec<_> = pieces(container, count)?.skip(count.saturating_sub(cap)).collect::<Option<_>>()?;
    let mut bytes = Vec::with_capacity(container.len());
    push(&mut bytes, IS_LIST | last.len() as u32);
    bytes.resize((1 + last.len()) * WORD, 0);
    let head = Head { start: 0, data: bytes.len() };
    for (place, (kind, value)) in last.iter().enumerate() {
        let from = bytes.len();
        if matches!(*kind, NUMBER | CONTAINER) {
            align(&mut bytes);
        }
        bytes.extend_from_slice(value);
        head.note(&mut bytes, place, *kind, from)?;
    }
    Some(bytes)
}
