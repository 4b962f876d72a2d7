//! A node's history: one line a call, in a file.

use crate::history::Event;
use cache_sync_kit::{Result, locked};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

pub(crate) struct Log(Mutex<BufWriter<File>>);

impl Log {
    pub(crate) fn create(path: &Path) -> Result<Log> {
        Ok(Log(Mutex::new(BufWriter::new(File::create(path)?))))
    }

    pub(crate) fn write(&self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        Ok(locked(&self.0).write_all(&line)?)
    }

    pub(crate) fn flush(&self) -> Result<()> {
        Ok(locked(&self.0).flush()?)
    }
}
