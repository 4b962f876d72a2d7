//! Objects and lists in `jsonb`'s own form: merged where a patch is newer than all that is there and so no stamps have to be
//! compared, cut, and made of texts.
//!
//! ```text
//! of_text   a JSON text as a container      number   numbers as `numeric` keeps them
//! ```
//! A container begins with a word of flags and the number of members; a word for each key and each value follows, in the order
//! of the keys (by length, then by bytes): its kind, and its length or, in every 32nd, where it ends. Then come the bytes, those of
//! numbers and containers at multiples of 4. Postgres 15 to 18 agree in this; what does not look like it is left to the caller.

mod number;
mod of_text;

pub(crate) use of_text::{has_bad_escapes, of_text, string};

use cache_sync_core::paths::{Leaves, Path};

const COUNT: u32 = 0x0fff_ffff;
const IS_OBJECT: u32 = 0x2000_0000;
const IS_LIST: u32 = 0x4000_0000;
/// A list that stands for its only element.
const IS_SCALAR: u32 = 0x1000_0000;
const LENGTH: u32 = 0x0fff_ffff;
const KIND: u32 = 0x7000_0000;
const IS_END: u32 = 0x8000_0000;
const NUMBER: u32 = 0x1000_0000;
const FALSE: u32 = 0x2000_0000;
const TRUE: u32 = 0x3000_0000;
const NULL: u32 = 0x4000_0000;
const CONTAINER: u32 = 0x5000_0000;
const STRIDE: usize = 32;
const WORD: usize = size_of::<u32>();

/// A member of an object.
#[derive(Clone, Copy, Debug)]
struct Member<'a> {
    key: &'a [u8],
    kind: u32,
    value: &'a [u8],
}

impl<'a> Member<'a> {
    fn object(self) -> Option<Object<'a>> {
        if self.kind == CONTAINER { Object::of(self.value) } else { None }
    }
}

/// An object.
#[derive(Debug)]
pub(crate) struct Object<'a>(Vec<Member<'a>>);

/// A key or value, with its kind.
type Part<'a> = (u32, &'a [u8]);

/// What a patch makes of an object.
#[derive(Default)]
pub(crate) struct Merged {
    /// The container of the object.
    pub(crate) bytes: Vec<u8>,
    /// What the patch sets.
    pub(crate) leaves: Leaves,
    /// It sets everything that is there.
    pub(crate) covers: bool,
}

impl<'a> Object<'a> {
    /// The object in a container; `None` for what is none.
    pub(crate) fn of(container: &'a [u8]) -> Option<Object<'a>> {
        let header = u32::from_ne_bytes(*container.first_chunk()?);
        if header & !COUNT != IS_OBJECT {
            return None;
        }
        let count = (header & COUNT) as usize;
        let parts = parts(container, 2 * count)?;
        let mut members: Vec<Member<'a>> = Vec::with_capacity(count);
        for (place, part) in parts.enumerate() {
            let (kind, bytes) = part?;
            match members.get_mut(place.wrapping_sub(count)) {
                None => members.push(Member { key: bytes, kind: 0, value: &[] }),
                Some(member) => (member.kind, member.value) = (kind, bytes),
            }
        }
        Some(Object(members))
    }

    /// This object with a patch over it, down to `levels` levels; `None` where the patch makes an object of something else, or
    /// where it is better to look at both as texts.
    pub(crate) fn merged(&self, patch: &Object<'a>, levels: u32) -> Option<Merged> {
        if patch.0.is_empty() {
            return None;
        }
        let mut merged = Merged { covers: true, ..Merged::default() };
        write(&mut merged, &mut Path::default(), self, patch, levels)?;
        Some(merged)
    }
}

/// The string in the container of a value that is one.
pub(crate) fn scalar_string(container: &[u8]) -> Option<&[u8]> {
    match parts(container, 1)?.next()?? {
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
    let last: Vec<_> = parts(container, count)?.skip(count.saturating_sub(cap)).collect::<Option<_>>()?;
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

/// So many values of a container, each with its kind; `None` for what does not look like one.
fn parts(container: &[u8], count: usize) -> Option<impl Iterator<Item = Option<Part<'_>>>> {
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

/// An object without members.
pub(crate) const EMPTY: Object<'static> = Object(Vec::new());

/// What a member of the result is made of.
enum Source<'a> {
    Copy(Member<'a>),
    Both(&'a [u8], Object<'a>, Object<'a>),
}

impl<'a> Source<'a> {
    fn key(&self) -> &'a [u8] {
        match self {
            Source::Copy(member) => member.key,
            Source::Both(key, ..) => key,
        }
    }
}

fn write(merged: &mut Merged, path: &mut Path, object: &Object<'_>, patch: &Object<'_>, levels: u32) -> Option<()> {
    let sources = sources(merged, path, object, patch, levels)?;
    let start = merged.bytes.len();
    push(&mut merged.bytes, IS_OBJECT | sources.len() as u32);
    merged.bytes.resize(start + (1 + 2 * sources.len()) * WORD, 0);
    let data = merged.bytes.len();
    let head = Head { start, data };
    for (place, source) in sources.iter().enumerate() {
        let from = merged.bytes.len();
        merged.bytes.extend_from_slice(source.key());
        head.note(&mut merged.bytes, place, 0, from)?;
    }
    for (place, source) in (sources.len()..).zip(sources.iter()) {
        let from = merged.bytes.len();
        let kind = match source {
            Source::Copy(member) => {
                if matches!(member.kind, NUMBER | CONTAINER) {
                    align(&mut merged.bytes);
                }
                merged.bytes.extend_from_slice(member.value);
                member.kind
            }
            Source::Both(key, object, patch) => {
                align(&mut merged.bytes);
                let name = std::str::from_utf8(key).ok()?;
                path.within(name, |path| write(merged, path, object, patch, levels - 1))?;
                CONTAINER
            }
        };
        head.note(&mut merged.bytes, place, kind, from)?;
    }
    Some(())
}

/// The members of the result, in their order. Notes what the patch sets here.
fn sources<'a>(
    merged: &mut Merged,
    path: &mut Path,
    object: &Object<'a>,
    patch: &Object<'a>,
    levels: u32,
) -> Option<Vec<Source<'a>>> {
    let order = |member: &Member<'a>| (member.key.len(), member.key);
    let (mut ours, mut theirs) = (object.0.iter().peekable(), patch.0.iter().peekable());
    let mut sources = Vec::with_capacity(object.0.len() + patch.0.len());
    loop {
        let next = ours.peek().into_iter().chain(theirs.peek()).map(|member| order(member)).min();
        let Some(next) = next else { return Some(sources) };
        let our = ours.next_if(|member| order(member) == next);
        let their = theirs.next_if(|member| order(member) == next);
        let Some(their) = their else {
            merged.covers = false;
            sources.extend(our.map(|member| Source::Copy(*member)));
            continue;
        };
        if let Some(inner) = their.object().filter(|_| levels > 1) {
            let current = our.and_then(|member| member.object()).filter(|_| !inner.0.is_empty())?;
            sources.push(Source::Both(their.key, current, inner));
            continue;
        }
        let name = std::str::from_utf8(their.key).ok()?;
        path.within(name, |path| merged.leaves.add(path, their.kind == NULL));
        if their.kind != NULL {
            sources.push(Source::Copy(*their));
        }
    }
}

/// Where a container that is being written begins, and its data.
struct Head {
    start: usize,
    data: usize,
}

impl Head {
    /// Notes the value that was written last, from `from` on; `None` when the container gets too large.
    fn note(&self, bytes: &mut [u8], place: usize, kind: u32, from: usize) -> Option<()> {
        let (end, length) = (bytes.len() - self.data, bytes.len() - from);
        let entry = kind | if place.is_multiple_of(STRIDE) { IS_END | end as u32 } else { length as u32 };
        let at = self.start + (1 + place) * WORD;
        bytes[at..at + WORD].copy_from_slice(&entry.to_ne_bytes());
        (end as u32 <= LENGTH).then_some(())
    }
}

fn push(bytes: &mut Vec<u8>, word: u32) {
    bytes.extend_from_slice(&word.to_ne_bytes());
}

/// A container lies at a multiple of 4 itself.
fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(WORD), 0);
}
