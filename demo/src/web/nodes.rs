//! The nodes: processes that are started, killed, stopped and told to edit.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_sync_kit::clock::now_ns;
use cache_sync_kit::{Result, locked};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::time::timeout;

use super::Shared;
use super::board::{NODES, NODES_PER_WAY, nodes_of, way_of};
use super::node::{EDIT_DEADLINE, NodeArguments};
use super::words::{Order, Said, Way};
use crate::run::BOUND;

/// How long a node may take to connect.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Between two attempts to start a node.
const START_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than the node itself an answer is waited for.
const ANSWER_SLACK: Duration = Duration::from_secs(1);
/// A node takes an order at once, or it is stopped.
const ORDER_DEADLINE: Duration = Duration::from_secs(1);

type Outcome = std::result::Result<(), String>;

/// All nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    running: [AsyncMutex<Option<Running>>; NODES],
    edits: Mutex<Edits>,
    started: Mutex<u64>,
    lost: mpsc::Sender<Lost>,
}

/// A process of a node has ended.
#[derive(Debug)]
pub(crate) struct Lost {
    node: usize,
    pid: Pid,
}

impl Nodes {
    /// None yet; and where the loss of each is told.
    pub(crate) fn new() -> (Nodes, mpsc::Receiver<Lost>) {
        let (lost, losses) = mpsc::channel(NODES);
        let (running, edits, started) = Default::default();
        (Nodes { running, edits, started, lost }, losses)
    }
}

#[derive(Debug, Default)]
struct Edits {
    begun: u64,
    waiting: HashMap<u64, oneshot::Sender<Outcome>>,
}

#[derive(Debug)]
struct Running {
    process: Child,
    orders: ChildStdin,
    pid: Pid,
}

/// What people call a node.
pub(crate) fn name(node: usize) -> String {
    format!("{} node {}", way_of(node).title(), node % NODES_PER_WAY + 1)
}

/// Starts those that end by themselves again, and says so in the time line.
pub(crate) async fn keep_alive(shared: &Arc<Shared>, mut lost: mpsc::Receiver<Lost>) -> Result<()> {
    while let Some(Lost { node, pid }) = lost.recv().await {
        let ended = {
            let mut running = shared.nodes.running[node].lock().await;
            // Else it was killed, and is no loss.
            let Some(mut ended) = running.take_if(|running| running.pid == pid) else { continue };
            ended.process.wait().await?
        };
        let what = format!("{} ended by itself ({ended}) and was started again", name(node));
        let number = locked(&shared.timeline).begin(shared.start_ns, now_ns(), &what);
        start_until_it_works(shared, node).await;
        locked(&shared.timeline).end(number, now_ns(), None);
    }
    Ok(())
}

/// Starts a node as often as it takes.
pub(crate) async fn start_until_it_works(shared: &Arc<Shared>, node: usize) {
    while let Err(error) = start(shared, node).await {
        eprintln!("{error}");
        tokio::time::sleep(START_PAUSE).await;
    }
}

/// Starts a node and waits until it works.
pub(crate) async fn start(shared: &Arc<Shared>, node: usize) -> Result<()> {
    let way = way_of(node);
    let seed = {
        let mut started = locked(&shared.nodes.started);
        *started += 1;
        *started
    };
    let arguments = NodeArguments {
        way,
        dsn: shared.stage.dsn_of(way),
        redis: shared.stage.redis_url(),
        seed,
        reads_per_second: shared.arguments.reads,
        writes_per_second: shared.arguments.writes,
        bound: BOUND,
        time_to_live: *locked(&shared.time_to_live),
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments.args()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn()?;
    let pid = process.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let (Some(orders), Some(said), Some(pid)) = (process.stdin.take(), process.stdout.take(), pid) else {
        return Err("a node without pipes".into());
    };
    let (ready, is_ready) = oneshot::channel();
    // Whoever hears of its end waits until it is here.
    let mut running = shared.nodes.running[node].lock().await;
    tokio::spawn(listen(Arc::clone(shared), Lost { node, pid }, said, ready));
    match timeout(START_DEADLINE, is_ready).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(format!("{} has ended: {}", name(node), process.wait().await?).into()),
        Err(_) => return Err(format!("{} is not ready after {START_DEADLINE:?}", name(node)).into()),
    }
    *running = Some(Running { process, orders, pid });
    Ok(())
}

/// SIGKILL.
pub(crate) async fn kill(shared: &Shared, node: usize) -> Result<()> {
    if let Some(mut running) = shared.nodes.running[node].lock().await.take() {
        running.process.kill().await?;
    }
    shared.forget(node);
    Ok(())
}

/// SIGSTOP, or SIGCONT.
pub(crate) async fn signal(shared: &Shared, node: usize, signal: Signal) -> Result<()> {
    match &*shared.nodes.running[node].lock().await {
        Some(running) => Ok(kill_process(running.pid, signal)?),
        None => Err(format!("{} does not run", name(node)).into()),
    }
}

/// Has a node write a text into a row of the shelf, and waits until Postgres has confirmed it.
pub(crate) async fn edit(shared: &Shared, node: usize, id: i64, text: String) -> Result<()> {
    let (sender, answer) = oneshot::channel();
    let number = {
        let mut edits = locked(&shared.nodes.edits);
        edits.begun += 1;
        let number = edits.begun;
        edits.waiting.insert(number, sender);
        number
    };
    let outcome = match tell(shared, node, &Order::Edit { number, id, text }).await {
        Ok(()) => match timeout(EDIT_DEADLINE + ANSWER_SLACK, answer).await {
            Ok(Ok(outcome)) => outcome.map_err(Into::into),
            _ => Err(format!("{} has not answered", name(node)).into()),
        },
        Err(error) => Err(error),
    };
    locked(&shared.nodes.edits).waiting.remove(&number);
    outcome
}

/// Has the nodes beside Redis keep rows there for so long.
pub(crate) async fn keep_for(shared: &Shared, time_to_live: Duration) -> Result<()> {
    *locked(&shared.time_to_live) = time_to_live;
    let ms = u64::try_from(time_to_live.as_millis())?;
    for node in nodes_of(Way::Redis) {
        tell(shared, node, &Order::TimeToLive { ms }).await?;
    }
    Ok(())
}

async fn tell(shared: &Shared, node: usize, order: &Order) -> Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    let told = timeout(ORDER_DEADLINE, async {
        match &mut *shared.nodes.running[node].lock().await {
            Some(running) => Ok(running.orders.write_all(&line).await?),
            None => Err(format!("{} does not run now", name(node)).into()),
        }
    });
    told.await.unwrap_or_else(|_| Err(format!("{} takes no orders now", name(node)).into()))
}

/// Takes what a node says, until it ends.
async fn listen(shared: Arc<Shared>, lost: Lost, said: ChildStdout, ready: oneshot::Sender<()>) {
    let node = lost.node;
    let (mut lines, mut ready) = (BufReader::new(said).lines(), Some(ready));
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Said>(&line) {
            Ok(Said::Ready) => {
                if let Some(ready) = ready.take() {
                    // Nobody waits any more for a node that took too long.
                    ready.send(()).unwrap_or_default();
                }
            }
            Ok(Said::Report(report)) => shared.board.report(node, report),
            Ok(Said::Shows(shown)) => shared.shelf.shows(node, shown),
            Ok(Said::Edited { number, outcome }) => {
                let waiting = locked(&shared.nodes.edits).waiting.remove(&number);
                if let Some(waiting) = waiting {
                    waiting.send(outcome).unwrap_or_default();
                }
            }
            Err(error) => eprintln!("{} said {line}: {error}", name(node)),
        }
    }
    shared.forget(node);
    // At the program's end nobody listens.
    shared.nodes.lost.send(lost).await.unwrap_or_default();
}
