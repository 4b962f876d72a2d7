//! What a node writes down, one event per line, with a system call each: what has been written survives SIGKILL of the
//! node. Only reads are gathered, since a lost one hides no fault of a write.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

use cache_sync_kit::{Result, locked};

/// A node's log.
pub(crate) struct Log {
    writes: Mutex<File>,
    reads: Mutex<BufWriter<File>>,
}

impl Log {
    /// A new log; reads go to a file beside it.
    pub(crate) fn create(path: &Path) -> Result<Log> {
        let reads = File::create(path.with_extension("reads"))?;
        Ok(Log { writes: Mutex::new(File::create(path)?), reads: Mutex::new(BufWriter::new(reads)) })
    }

    /// Before the call: operation `op` is about to add 1.
    pub(crate) fn intent(&self, op: u64, aid: i32) -> Result<()> {
        self.write(&format!("intent {op} {aid}\n"))
    }

    /// After the call: the SDK has accepted it.
    pub(crate) fn accepted(&self, op: u64) -> Result<()> {
        self.write(&format!("accepted {op}\n"))
    }

    /// After the call: the SDK has refused it.
    pub(crate) fn refused(&self, op: u64) -> Result<()> {
        self.write(&format!("refused {op}\n"))
    }

    /// What Postgres made of it.
    pub(crate) fn outcome(&self, op: u64, written: bool, what: &str) -> Result<()> {
        self.write(&format!("outcome {op} {} {what}\n", if written { "written" } else { "not-written" }))
    }

    /// A read begun at `at_ns` returned this version.
    pub(crate) fn read(&self, at_ns: i64, aid: i32, version: i64) -> Result<()> {
        Ok(writeln!(locked(&self.reads), "{at_ns} {aid} {version}")?)
    }

    /// Lets go of the gathered reads.
    pub(crate) fn flush(&self) -> Result<()> {
        Ok(locked(&self.reads).flush()?)
    }

    fn write(&self, line: &str) -> Result<()> {
        Ok(locked(&self.writes).write_all(line.as_bytes())?)
    }
}
