//! Objects, and what a patch makes of one.

use super::form::{CONTAINER, COUNT, Head, IS_OBJECT, NULL, NUMBER, WORD, align, pieces, push};
use cache_sync_core::paths::{Leaves, Path};

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

/// What a patch makes of an object.
#[derive(Default)]
pub(crate) struct Overlay {
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
        let pieces = pieces(container, 2 * count)?;
        let mut members: Vec<Member<'a>> = Vec::with_capacity(count);
        for (place, piece) in pieces.enumerate() {
            let (kind, bytes) = piece?;
            match members.get_mut(place.wrapping_sub(count)) {
                None => members.push(Member { key: bytes, kind: 0, value: &[] }),
                Some(member) => (member.kind, member.value) = (kind, bytes),
            }
        }
        Some(Object(members))
    }

    /// This object with a patch over it, down to `levels` levels; `None` where the patch makes an object of something else, or
    /// where it is better to look at both as texts.
    pub(crate) fn overlaid(&self, patch: &Object<'a>, levels: u32) -> Option<Overlay> {
        if patch.0.is_empty() {
            return None;
        }
        let mut overlay = Overlay { covers: true, ..Overlay::default() };
        write(&mut overlay, &mut Path::default(), self, patch, levels)?;
        Some(overlay)
    }
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

fn write(overlay: &mut Overlay, path: &mut Path, object: &Object<'_>, patch: &Object<'_>, levels: u32) -> Option<()> {
    let sources = sources(overlay, path, object, patch, levels)?;
    let start = overlay.bytes.len();
    push(&mut overlay.bytes, IS_OBJECT | sources.len() as u32);
    overlay.bytes.resize(start + (1 + 2 * sources.len()) * WORD, 0);
    let data = overlay.bytes.len();
    let head = Head { start, data };
    for (place, source) in sources.iter().enumerate() {
        let from = overlay.bytes.len();
        overlay.bytes.extend_from_slice(source.key());
        head.note(&mut overlay.bytes, place, 0, from)?;
    }
    for (place, source) in (sources.len()..).zip(sources.iter()) {
        let from = overlay.bytes.len();
        let kind = match source {
            Source::Copy(member) => {
                if matches!(member.kind, NUMBER | CONTAINER) {
                    align(&mut overlay.bytes);
                }
                overlay.bytes.extend_from_slice(member.value);
                member.kind
            }
            Source::Both(key, object, patch) => {
                align(&mut overlay.bytes);
                let name = std::str::from_utf8(key).ok()?;
                path.within(name, |path| write(overlay, path, object, patch, levels - 1))?;
                CONTAINER
            }
        };
        head.note(&mut overlay.bytes, place, kind, from)?;
    }
    Some(())
}

/// The members of the result, in their order. Notes what the patch sets here.
fn sources<'a>(
    overlay: &mut Overlay,
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
            overlay.covers = false;
            sources.extend(our.map(|member| Source::Copy(*member)));
            continue;
        };
        if let Some(inner) = their.object().filter(|_| levels > 1) {
            let current = our.and_then(|member| member.object()).filter(|_| !inner.0.is_empty())?;
            sources.push(Source::Both(their.key, current, inner));
            continue;
        }
        let name = std::str::from_utf8(their.key).ok()?;
        path.within(name, |path| overlay.leaves.add(path, their.kind == NULL));
        if their.kind != NULL {
            sources.push(Source::Copy(*their));
        }
    }
}
