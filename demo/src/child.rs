//! The processes beside the orchestrator. They end when their standard input does, so none outlives it.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cache_sync_kit::{Histogram, Result, locked};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use crate::message::{Counts, Message};

/// How long a child may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);
/// How many answers may lie unread. A child answers commands, one at a time.
const ANSWERS_MAX: usize = 16;

/// What the children have reported.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Reported>);

#[derive(Debug, Default)]
struct Reported {
    counts: HashMap<String, Counts>,
    committed: HashMap<i64, i64>,
    /// Versions whose arrival was seen before their commit was answered.
    dropped: Vec<(i64, i64)>,
    commit_to_drop: Histogram,
    last_ns: Option<i64>,
}

impl Board {
    /// What all nodes have done so far, those that were killed included.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for counts in self.reported().counts.values() {
            sum.reads += counts.reads;
            sum.updates += counts.updates;
            sum.errors += counts.errors;
            sum.hits += counts.hits;
            sum.misses += counts.misses;
            sum.statements += counts.statements;
            sum.changes += counts.changes;
            sum.buffered += counts.buffered;
        }
        sum
    }

    /// How many reads memory has answered in the child of this name.
    pub(crate) fn hits(&self, child: &str) -> u64 {
        self.reported().counts.get(child).map_or(0, |counts| counts.hits)
    }

    /// From the answer to a commit until a node no longer held the row as it was; 0 when it came before the answer.
    pub(crate) fn commit_to_drop(&self) -> Histogram {
        self.reported().commit_to_drop.clone()
    }

    /// The last of them, in nanoseconds.
    pub(crate) fn last_commit_to_drop_ns(&self) -> Option<i64> {
        self.reported().last_ns
    }

    fn note(&self, child: &str, message: &Message) {
        let mut reported = self.reported();
        match message {
            Message::Counts(counts) => {
                reported.counts.insert(child.to_owned(), *counts);
            }
            Message::Committed { version, at_ns } => {
                reported.committed.insert(*version, *at_ns);
            }
            Message::Dropped { version, at_ns } => reported.dropped.push((*version, *at_ns)),
            Message::Ready | Message::Stopped | Message::Dumped { .. } => return,
        }
        let Reported { committed, dropped, commit_to_drop, last_ns, .. } = &mut *reported;
        dropped.retain(|(version, dropped_ns)| {
            let Some(committed_ns) = committed.get(version) else { return true };
            commit_to_drop.add(dropped_ns - committed_ns);
            *last_ns = Some((dropped_ns - committed_ns).max(0));
            false
        });
    }

    fn reported(&self) -> MutexGuard<'_, Reported> {
        locked(&self.0)
    }
}

/// A node or the sampler.
pub(crate) struct Child {
    name: String,
    process: tokio::process::Child,
    commands: ChildStdin,
    answers: mpsc::Receiver<Message>,
}

impl Child {
    /// Starts this program in another role and waits until it is ready.
    pub(crate) async fn start(name: String, args: &[String], board: &Arc<Board>) -> Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let (Some(commands), Some(said)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("a child without pipes".into());
        };
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(listen(name.clone(), said, Arc::clone(board), sender));
        let mut child = Child { name, process, commands, answers };
        child.answer().await?;
        Ok(child)
    }

    /// Tells it what to do.
    pub(crate) async fn tell(&mut self, command: &str) -> Result<()> {
        self.commands.write_all(format!("{command}\n").as_bytes()).await?;
        Ok(self.commands.flush().await?)
    }

    /// Waits for its next answer.
    pub(crate) async fn answer(&mut self) -> Result<Message> {
        match tokio::time::timeout(ANSWER_DEADLINE, self.answers.recv()).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(format!("{} has ended: {:?}", self.name, self.process.wait().await).into()),
            Err(_) => Err(format!("{} has not answered for {ANSWER_DEADLINE:?}", self.name).into()),
        }
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

async fn listen(name: String, said: ChildStdout, board: Arc<Board>, answers: mpsc::Sender<Message>) {
    let mut lines = BufReader::new(said).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Message>(&line) {
            Ok(message @ (Message::Ready | Message::Stopped | Message::Dumped { .. })) => {
                if answers.send(message).await.is_err() {
                    return;
                }
            }
            Ok(message) => board.note(&name, &message),
            Err(error) => eprintln!("{name} said {line}: {error}"),
        }
    }
}
