//! A node, as its parent sees it. It ends when its standard input does, so none outlives its parent.

use crate::history::{Event, History};
use crate::node::{Counts, NodeArguments, Said};
use cache_sync_kit::{During, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader as AsyncBufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

/// How long a node may take for what it is told.
const ANSWER_MAX: Duration = Duration::from_secs(150);
/// How many answers may lie unread.
const ANSWERS_MAX: usize = 64;

pub(crate) struct Process {
    number: u32,
    child: Child,
    commands: ChildStdin,
    answers: mpsc::Receiver<Said>,
    history: PathBuf,
    /// Up to where its history has been read.
    read: u64,
    /// Whether a question about its well-being has not been answered yet.
    is_asked: bool,
}

impl Process {
    pub(crate) async fn start(arguments: &NodeArguments) -> Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments.args()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(commands), Some(said)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a node without pipes".into());
        };
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(listen(said, sender));
        let history = arguments.history.clone();
        let mut process =
            Process { number: arguments.number, child, commands, answers, history, read: 0, is_asked: false };
        process.answer().await?;
        Ok(process)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub(crate) async fn tell(&mut self, command: &str) -> Result<()> {
        self.commands.write_all(format!("{command}\n").as_bytes()).await?;
        Ok(self.commands.flush().await?)
    }

    async fn answer(&mut self) -> Result<Said> {
        match tokio::time::timeout(ANSWER_MAX, self.answers.recv()).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(format!("node {} has ended: {:?}", self.number, self.child.wait().await).into()),
            Err(_) => Err(format!("node {} has not answered for {ANSWER_MAX:?}", self.number).into()),
        }
    }

    /// Whether it says that it is well.
    pub(crate) async fn is_well(&mut self) -> Result<bool> {
        if !self.is_asked {
            self.tell("well").await?;
            self.is_asked = true;
        }
        match self.answer().await? {
            Said::Well(is_well) => {
                self.is_asked = false;
                Ok(is_well)
            }
            other => Err(format!("node {} says {other:?}", self.number).into()),
        }
    }

    /// Waits until nothing of it acts any more; whether all that it had accepted has an outcome.
    pub(crate) async fn stopped(&mut self) -> Result<bool> {
        match self.answer().await? {
            Said::Stopped { is_flushed } => Ok(is_flushed),
            other => Err(format!("node {} says {other:?}", self.number).into()),
        }
    }

    /// Waits until it has caught up and written down what it holds.
    pub(crate) async fn settled(&mut self) -> Result<(bool, Counts)> {
        match self.answer().await? {
            Said::Settled { is_caught_up, counts } => Ok((is_caught_up, counts)),
            other => Err(format!("node {} says {other:?}", self.number).into()),
        }
    }

    /// What it has written down since this was asked last.
    pub(crate) fn history(&mut self) -> Result<History> {
        let mut file = File::open(&self.history).during(|| self.history.display().to_string())?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut events: Vec<Event> = Vec::new();
        let mut lines = BufReader::new(file);
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            self.read += line.len() as u64;
            events.push(serde_json::from_str(&line).during(|| line.clone())?);
            line.clear();
        }
        Ok(History { process: self.number, events })
    }
}

async fn listen(said: ChildStdout, answers: mpsc::Sender<Said>) {
    let mut lines = AsyncBufReader::new(said).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Said>(&line) {
            Ok(said) => drop(answers.send(said).await),
            Err(error) => eprintln!("a node said {line}: {error}"),
        }
    }
}
