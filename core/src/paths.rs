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
pub struct Path(Vec<u8>);

impl Path {
    /// The bytes under which it is noted.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the document's own.
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs `body` one level further down.
    pub fn within<T>(&mut self, name: &str, body: impl FnOnce(&mut Path) -> T) -> T {
        let length = self.0.len();
        self.0.push(0);
        self.0.extend_from_slice(name.as_bytes());
        let result = body(self);
        self.0.truncate(length);
        result
    }
}

/// What a patch sets in a document: values, or that there is none.
#[derive(Debug, Default)]
pub struct Leaves {
    /// All paths, one after the other.
    paths: Vec<u8>,
    /// Where each ends, and whether nothing is there afterwards.
    ends: Vec<(usize, bool)>,
}

impl Leaves {
    /// Adds a path; `is_removed` says that nothing is there afterwards.
    pub fn add(&mut self, path: &Path, is_removed: bool) {
        self.paths.extend_from_slice(&path.0);
        self.ends.push((self.paths.len(), is_removed));
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let mut start = 0;
        self.ends
            .iter()
            .map(move |(end, is_removed)| (&self.paths[std::mem::replace(&mut start, *end)..*end], *is_removed))
    }

    /// Sorted, to be looked up.
    fn sorted(&self) -> Vec<&[u8]> {
        let mut sorted: Vec<_> = self.iter().map(|(path, _)| path).collect();
        sorted.sort_unstable();
        sorted
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

    /// Whether one of the leaves lies below a path with a stamp of its own, which it would get instead of that of what is
    /// there.
    pub(crate) fn has_above(&self, leaves: &Leaves) -> bool {
        self.noted().next().is_some() && self.has_above_any(&leaves.sorted())
    }

    fn has_above_any(&self, sorted: &[&[u8]]) -> bool {
        self.noted().any(|path| {
            // What begins with the path follows it at once, and of that what lies below it comes first.
            let first = sorted.partition_point(|leaf| *leaf <= path);
            sorted.get(first).is_some_and(|leaf| leaf.strip_prefix(path).is_some_and(|rest| rest.first() == Some(&0)))
        })
    }

    /// A patch that is newer than all that is there has set these, in objects that are there. With `covers` it has set
    /// everything that is there.
    pub fn overlay(&mut self, stamp: Stamp, covers: bool, leaves: &Leaves) {
        let sorted = if covers && !self.own.is_empty() { leaves.sorted() } else { Vec::new() };
        let covers = covers && !self.has_above_any(&sorted);
        if covers {
            let is_set = |path: &[u8]| {
                let ends = (1..path.len()).filter(|end| path[*end] == 0).chain([path.len()]);
                ends.into_iter().any(|end| sorted.binary_search(&&path[..end]).is_ok())
            };
            self.own.retain(|path, _| match path.last() {
                Some(&PRESENT) => false,
                Some(&OBJECT) => true,
                _ => !is_set(path),
            });
            self.set(&[PRESENT], stamp);
        }
        for (leaf, _) in leaves.iter().filter(|(_, is_removed)| *is_removed || !covers) {
            self.overwrite(leaf, stamp);
        }
        self.bound();
    }

    /// The paths that have a stamp, but for what stands for something else.
    fn noted(&self) -> impl Iterator<Item = &[u8]> {
        self.own.keys().map(|path| &**path).filter(|path| !matches!(path.last(), Some(&(OBJECT | PRESENT))))
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
    pub(crate) fn overwrite(&mut self, path: &[u8], stamp: Stamp) {
        // So it mostly is, and then nothing needs to be looked for.
        let is_elsewhere = |own: &[u8]| own == path || (own == [PRESENT] && !path.is_empty());
        let gone: Vec<_> = match self.own.len() <= 2 && self.own.keys().all(|own| is_elsewhere(own)) {
            true => Vec::new(),
            false => self.under(path).filter(|(_, of)| **of < stamp).map(|(own, _)| own.clone()).collect(),
        };
        gone.iter().for_each(|own| {
            self.own.remove(own);
        });
        self.set(path, stamp);
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
    pub(crate) fn bound(&mut self) {
        if self.own.len() > PATHS_MAX {
            let mut stamps: Vec<_> = self.own.values().copied().collect();
            stamps.sort_unstable();
            self.base = self.base.max(stamps[stamps.len() - PATHS_MAX / 2]);
            let base = self.base;
            self.own.retain(|_, stamp| *stamp > base);
        }
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
    fn under<'a>(&'a self, path: &[u8]) -> impl Iterator<Item = (&'a Box<[u8]>, &'a Stamp)> + use<'a> {
        let below = |from: &[u8], to: &[u8]| {
            let [from, to] = [from, to].map(|end| [path, end].concat());
            self.own.range::<[u8], _>((Bound::Included(&*from), Bound::Excluded(&*to)))
        };
        below(&[0], &[1]).chain(below(&[PRESENT], &[OBJECT, 0]))
    }
}
