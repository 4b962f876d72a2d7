//! When the paths of a JSON document were written.
//!
//! A path is the names from the document down to a value, each with a zero byte before it (which no name in a `jsonb`
//! has); the document's own path is empty. A path without stamp of its own has that of the nearest one above it. Two bytes
//! that no text has stand for something else: 255 at the end of a path for "is an object", which is stamped when an empty
//! object is written, which sets no member; 254 alone for all that is in the document, which is newer than what is not when
//! a patch has written all of it.

use crate::number::Stamp;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The end of a path that says that an object stands there.
const OBJECT: u8 = 255;
/// The path of all that is there.
const PRESENT: u8 = 254;
/// Longer paths are not noted: what they lead to counts as written with the nearest one above that is short enough.
const LENGTH_MAX: usize = 512;
/// How many paths of a document are noted; of more, the oldest give up their own stamps.
const PATHS_MAX: usize = 256;

/// A path from a document down to a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path(Vec<u8>);

impl Path {
    /// Whether it is the document's own.
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, name: &str) {
        self.0.push(0);
        self.0.extend_from_slice(name.as_bytes());
    }

    /// Runs `body` one level further down.
    pub(crate) fn within<T>(&mut self, name: &str, body: impl FnOnce(&mut Path) -> T) -> T {
        let length = self.0.len();
        self.push(name);
        let result = body(self);
        self.0.truncate(length);
        result
    }
}

/// The stamps of a document's paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The document's own stamp.
    pub(crate) base: Stamp,
    pub(crate) own: BTreeMap<Box<[u8]>, Stamp>,
}

impl Paths {
    /// A document that was written as a whole.
    pub fn all(base: Stamp) -> Paths {
        Paths { base, own: BTreeMap::new() }
    }

    /// Whether bytes from a stored clock, which anybody may have written, are a path that can have a stamp.
    pub(crate) fn is_path(bytes: &[u8]) -> bool {
        match bytes {
            [PRESENT | OBJECT] => true,
            [0, inner @ .., OBJECT] | [0, inner @ ..] => std::str::from_utf8(inner).is_ok(),
            _ => false,
        }
    }

    /// The same paths, with every stamp changed.
    #[must_use]
    pub fn map(mut self, change: impl Fn(Stamp) -> Stamp) -> Paths {
        self.base = change(self.base);
        self.own.values_mut().for_each(|stamp| *stamp = change(*stamp));
        self
    }

    /// The document's own stamp: that of every path that has none.
    pub fn base(&self) -> Stamp {
        self.base
    }

    /// The stamp of what is in the document and has none of its own.
    pub(crate) fn present(&self) -> Stamp {
        self.own.get(&[PRESENT][..]).map_or(self.base, |present| self.base.max(*present))
    }

    /// A patch has written everything that is in the document; `keeps` says of the names down to a path that it says
    /// nothing about it. What the patch removes is noted after this.
    pub(crate) fn overwrite_all(&mut self, stamp: Stamp, keeps: impl Fn(&mut dyn Iterator<Item = &str>) -> bool) {
        self.own.retain(|path, _| match path.last() {
            Some(&PRESENT) => false,
            Some(&OBJECT) => true,
            _ => keeps(&mut names(path)),
        });
        self.set(&[PRESENT], stamp);
    }

    /// A patch that is newer than all that is there has set these (and removed those of which it is said), in objects that are
    /// there. With `covers` it has set everything that is there.
    pub fn overlay(&mut self, stamp: Stamp, covers: bool, leaves: &[(Vec<&str>, bool)]) {
        let path = |names: &[&str]| {
            let mut path = Path::default();
            names.iter().for_each(|name| path.push(name));
            path
        };
        let is_within = |names: &[&str], leaf: &[&str]| leaf.len() > names.len() && leaf.starts_with(names);
        let covers = covers
            && !self.names().any(|own| {
                let own: Vec<_> = own.collect();
                leaves.iter().any(|(leaf, _)| is_within(&own, leaf))
            });
        if covers {
            self.overwrite_all(stamp, |names| {
                let names: Vec<_> = names.collect();
                !leaves.iter().any(|(leaf, _)| names.starts_with(leaf))
            });
        }
        for (leaf, _) in leaves.iter().filter(|(_, is_removed)| *is_removed || !covers) {
            self.overwrite(&path(leaf), stamp);
        }
        *self = std::mem::replace(self, Paths::all(Stamp(0))).bounded();
    }

    /// The names down to each path that has a stamp.
    pub(crate) fn names(&self) -> impl Iterator<Item = impl Iterator<Item = &str>> {
        let is_path = |path: &&[u8]| !matches!(path.last(), Some(&(OBJECT | PRESENT)));
        self.own.keys().map(|path| &**path).filter(is_path).map(names)
    }

    /// The stamp of whatever in the document was written last.
    pub fn newest(&self) -> Stamp {
        self.own.values().copied().fold(self.base, Stamp::max)
    }

    /// The path's own stamp; none for the document's own path.
    pub(crate) fn exact(&self, path: &Path) -> Option<Stamp> {
        self.own.get(&*path.0).copied()
    }

    /// Whether anything below the path was written at `stamp` or later.
    pub(crate) fn is_any_under(&self, path: &Path, stamp: Stamp) -> bool {
        self.under(&path.0).any(|(_, of)| *of >= stamp)
    }

    /// A value was written at the path: what was written below it before is gone.
    pub(crate) fn overwrite(&mut self, path: &Path, stamp: Stamp) {
        let gone: Vec<_> = self.under(&path.0).filter(|(_, of)| **of < stamp).map(|(own, _)| own.clone()).collect();
        gone.iter().for_each(|own| {
            self.own.remove(own);
        });
        self.set(&path.0, stamp);
    }

    /// The value at the path counts as written at `stamp`, which may be earlier than it was; nothing is below it.
    pub(crate) fn restamp(&mut self, path: &Path, stamp: Stamp) {
        self.set(&path.0, stamp);
    }

    /// An empty object was written at the path. Says whether that is news.
    pub(crate) fn note_object(&mut self, path: &Path, stamp: Stamp) -> bool {
        let marker = [&path.0[..], &[OBJECT]].concat();
        let is_news = self.own.get(&*marker).is_none_or(|noted| *noted < stamp);
        if is_news {
            self.set(&marker, stamp);
        }
        is_news
    }

    /// Gives up the own stamps of paths where there are too many: what they lead to counts as written later than it was,
    /// so that a write which was made before them cannot pass for newer.
    pub(crate) fn bounded(mut self) -> Paths {
        if self.own.len() > PATHS_MAX {
            let mut stamps: Vec<_> = self.own.values().copied().collect();
            stamps.sort_unstable();
            self.base = self.base.max(stamps[stamps.len() - PATHS_MAX / 2]);
            let base = self.base;
            self.own.retain(|_, stamp| *stamp > base);
        }
        self
    }

    fn set(&mut self, path: &[u8], stamp: Stamp) {
        if path.is_empty() {
            self.base = stamp;
            return;
        }
        if path.len() > LENGTH_MAX {
            let cut = path[..LENGTH_MAX].iter().rposition(|byte| *byte == 0).unwrap_or(0);
            let above = &path[..cut];
            let own = if above.is_empty() { Some(&self.base) } else { self.own.get(above) };
            return self.set(above, own.map_or(stamp, |own| stamp.max(*own)));
        }
        self.own.insert(path.into(), stamp);
    }

    /// What has a stamp below the path, or says that it is an object.
    fn under(&self, path: &[u8]) -> impl Iterator<Item = (&Box<[u8]>, &Stamp)> {
        let range = |from: &[u8], to: &[u8]| {
            let bounds = (Bound::Included([path, from].concat()), Bound::Excluded([path, to].concat()));
            self.own.range::<[u8], _>((as_slice(&bounds.0), as_slice(&bounds.1))).collect::<Vec<_>>()
        };
        range(&[0], &[1]).into_iter().chain(range(&[PRESENT], &[OBJECT, 0]))
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(path) => Bound::Included(path),
        Bound::Excluded(path) => Bound::Excluded(path),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &str> {
    path[1..].split(|byte| *byte == 0).map(|name| std::str::from_utf8(name).unwrap_or_default())
}
