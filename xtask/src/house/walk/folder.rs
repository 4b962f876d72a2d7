//! The folder that a file belongs to.

use std::fmt;
use std::path::Path;

/// A room of a crate, or the files at the top of its `src`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    of_crate: String,
    room: String,
}

impl Folder {
    pub(crate) fn of(root: &Path, file: &str) -> Folder {
        let (of_crate, rest) = file.split_once("/src/").unwrap_or(("", file));
        let room = match rest.split_once('/') {
            Some((room, _)) => room,
            None => {
                let stem = rest.trim_end_matches(".rs");
                // The face of a folder belongs to it.
                if root.join(of_crate).join("src").join(stem).is_dir() { stem } else { "top" }
            }
        };
        Folder { of_crate: of_crate.to_owned(), room: room.to_owned() }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.of_crate, self.room)
    }
}
