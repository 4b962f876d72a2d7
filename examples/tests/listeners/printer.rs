//! A program that prints what a package tells, and what it printed.

use crate::languages::running;
use crate::process::Process;
use cache_sync_cluster::workspace_root;
use cache_sync_tests::{SOON, output};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// `gap`, and that the feed is heard: how each begins.
pub(crate) const START: [&str; 2] = ["gap - False False", "heard - False False"];

/// It runs, and ends with its owner.
pub(crate) struct Printer {
    process: Process,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Printer {
    /// `script` is `printer.py` or `printer.js`; the former says which options there are.
    pub(crate) fn start(script: &str, dsn: &str, table: &str, options: &str) -> Printer {
        let mut command = running(&workspace_root().join("examples/tests/listeners").join(script));
        command.args([table, options]).env("DATABASE_URL", dsn);
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
        let child = &mut process.0;
        let (printed, mut said) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
        let (sender, lines) = channel();
        // It ends with the process, or when nobody reads what it sends.
        std::thread::spawn(move || printed.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let errors = std::thread::spawn(move || {
            let mut errors = String::new();
            said.read_to_string(&mut errors).unwrap();
            errors
        });
        Printer { process, lines, errors: Some(errors) }
    }

    pub(crate) fn next(&self, within: Duration) -> String {
        self.lines.recv_timeout(within).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The next lines are these.
    pub(crate) fn expect(&self, what: &str, told: &[&str]) {
        for told in told {
            let next = self.lines.recv_timeout(SOON);
            assert_eq!(next.as_deref(), Ok(*told), "{what}");
        }
    }

    /// It goes on if it held.
    pub(crate) fn release(&mut self) {
        drop(self.process.0.stdin.take());
    }

    /// `-STOP` or `-CONT`.
    pub(crate) fn signal(&self, what: &str) {
        output(Command::new("kill").args([what, &self.process.0.id().to_string()]));
    }

    /// It ends, whatever else it prints: how, and with which errors.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        self.release();
        let deadline = Instant::now() + SOON;
        let left = || deadline.saturating_duration_since(Instant::now());
        let over = loop {
            if let Err(over) = self.lines.recv_timeout(left()) {
                break over;
            }
        };
        assert_eq!(over, RecvTimeoutError::Disconnected, "it ends");
        (self.process.0.wait().unwrap(), self.errors.take().unwrap().join().unwrap())
    }
}
