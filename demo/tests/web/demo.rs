//! The program that shows the page.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cache_sync_kit::wait;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const END_TIME_MAX: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Demo {
    process: Child,
    pub(crate) url: String,
    pub(crate) port: u16,
}

impl Demo {
    /// Starts it on a free port, with little work: the machine may be slow.
    pub(crate) fn start() -> Demo {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cache-sync-demo"));
        command.args(["--web", "--reads", "300", "--writes", "5"]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let found = said.lines().map_while(Result::ok).find_map(|line| {
            let url = line.strip_prefix("The page is at ")?.split(';').next()?.to_owned();
            Some(url)
        });
        let url = found.expect("it says where the page is");
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        Demo { process, url, port }
    }

    /// Interrupts it, as Ctrl-C does: all that it has started must go with it.
    pub(crate) fn end(mut self) {
        let children = children(self.process.id());
        assert!(children.len() >= 5, "nodes and pgbench: {children:?}");
        kill_process(Pid::from_child(&self.process), Signal::INT).unwrap();
        let ended = || Ok(self.process.try_wait()?.is_some());
        assert!(wait::until_blocking(END_TIME_MAX, PAUSE, ended).unwrap(), "it does not end");
        assert!(self.process.wait().unwrap().success());
        let are_gone = || Ok(children.iter().all(|pid| test_kill_process(*pid).is_err()));
        assert!(wait::until_blocking(END_TIME_MAX, PAUSE, are_gone).unwrap(), "something outlives it");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // When a test has failed: it has ended already otherwise.
        if matches!(self.process.try_wait(), Ok(None)) {
            self.process.kill().and_then(|()| self.process.wait()).map(drop).unwrap_or_default();
        }
    }
}

/// The processes that a process has started.
fn children(of: u32) -> Vec<Pid> {
    let is_child = |dir: &PathBuf| {
        let stat = std::fs::read_to_string(dir.join("stat")).unwrap_or_default();
        // pid (name) state parent ...; a name may hold anything.
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok()) == Some(of)
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let pid = |dir: PathBuf| Pid::from_raw(dir.file_name()?.to_str()?.parse().ok()?);
    processes.filter(is_child).filter_map(pid).collect()
}
