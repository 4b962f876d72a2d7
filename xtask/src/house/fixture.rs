//! A small workspace for a test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Its directory goes when it is dropped.
pub(crate) struct Fixture {
    dir: PathBuf,
}

impl Fixture {
    /// Writes `files`: paths and texts.
    pub(crate) fn new(files: &[(&str, &str)]) -> Fixture {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("cache_sync_house_{}_{number}", std::process::id()));
        for (file, text) in files {
            let file = dir.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        Fixture { dir }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}
