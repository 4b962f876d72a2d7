//! The program that shows the page.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cache_sync_kit::wait;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Servers are started first.
const START_TIME_MAX: Duration = Duration::from_secs(120);
const END_TIME_MAX: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);
/// It ends by itself, in seconds, whatever becomes of the test.
const SECONDS: &str = "600";

/// What Linux calls a node.
const NODE: &str = "cache-sync-demo";

pub(crate) struct Demo {
    process: Child,
    pub(crate) url: String,
    pub(crate) port: u16,
}

impl Demo {
    /// Starts it on a free port, with little work: the machine may be slow.
    pub(crate) fn start() -> Demo {
        let mut command = ends_with_this_test("INT", env!("CARGO_BIN_EXE_cache-sync-demo"));
        command.args(["--web", "--reads", "300", "--writes", "5", "--seconds", SECONDS]).stdout(Stdio::piped());
        let mut demo = Demo { process: command.spawn().unwrap(), url: String::new(), port: 0 };
        let said = BufReader::new(demo.process.stdout.take().unwrap());
        let (found, url) = mpsc::channel();
        // It ends with the program's output. Nobody may wait any more.
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                let url = line.strip_prefix("The page is at ").and_then(|rest| rest.split(';').next());
                if let Some(url) = url {
                    found.send(url.to_owned()).unwrap_or_default();
                }
            }
        });
        demo.url = url.recv_timeout(START_TIME_MAX).expect("it says where the page is");
        demo.port = demo.url.rsplit(':').next().unwrap().parse().unwrap();
        demo
    }

    /// Kills one of the nodes. Whoever is killed and who takes its place have other numbers.
    pub(crate) fn lose_a_node(&self) {
        let (_, node) = children(self.process.id()).into_iter().find(|(name, _)| name == NODE).expect("a node");
        kill_process(node, Signal::KILL).unwrap();
    }

    /// Interrupts it, as Ctrl-C does: all that it has started must go with it.
    pub(crate) fn end(mut self) {
        let children = children(self.process.id());
        let count = |name| children.iter().filter(|child| child.0 == name).count();
        assert_eq!((count(NODE), count("pgbench")), (4, 1), "{children:?}");
        kill_process(Pid::from_child(&self.process), Signal::INT).unwrap();
        let ended = || Ok(self.process.try_wait()?.is_some());
        assert!(wait::until_blocking(END_TIME_MAX, PAUSE, ended).unwrap(), "it does not end");
        assert!(self.process.wait().unwrap().success());
        let are_gone = || Ok(children.iter().all(|(_, pid)| test_kill_process(*pid).is_err()));
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

/// A program that gets a signal when the thread that starts it ends, which is the test's own: also if the test is killed.
pub(crate) fn ends_with_this_test(signal: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    command
}

/// The processes that a process has started, and their names, which Linux cuts.
fn children(of: u32) -> Vec<(String, Pid)> {
    let child = |dir: PathBuf| {
        let stat = std::fs::read_to_string(dir.join("stat")).ok()?;
        // pid (name) state parent ...; a name may hold anything.
        let (begin, rest) = stat.rsplit_once(") ")?;
        let (pid, name) = begin.split_once(" (")?;
        let is_child = rest.split(' ').nth(1)?.parse() == Ok(of);
        is_child.then_some((name.to_owned(), Pid::from_raw(pid.parse().ok()?)?))
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes.filter_map(child).collect()
}
